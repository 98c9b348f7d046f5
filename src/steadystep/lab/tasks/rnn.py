"""rnn-*: generated sequences with long time lags, where gradients through a recurrent network vanish and explode."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.data import fingerprint_arrays
from steadystep.lab.tasks.networks.rnn import CELLS, RNN
from steadystep.lab.tasks.recipe import Recipe
from steadystep.lab.tasks.sequences import PROBLEMS
from steadystep.lab.tasks.sequences.fresh import Fresh, drawn
from steadystep.lab.tasks.sequences.problem import Problem
from steadystep.lab.tasks.task import Splits, Task

BATCH = 20
UPDATES = 200
"""An epoch has so many."""

VALIDATION, TEST = 1_000, 10_000

SUCCESS = 0.99
"""A run succeeds if it is right in more than this share of the 10,000 test sequences: Pascanu et al. (2013)."""

ARMS = (
    Arm(name="SGD", optimizer="SGD", lrs=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0)),
    Arm(name="SGD + clip", optimizer="SGD", lrs=(0.1, 0.3, 1.0), clip="norm", quantiles=(0.5, 0.9)),
    Arm(name="Adam", optimizer="Adam", lrs=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
    Arm(name="Adam + clip", optimizer="Adam", lrs=(1e-3, 3e-3, 1e-2), clip="norm", quantiles=(0.5, 0.9)),
)


def load(data: Path | None, *, problem: Problem, length: int) -> Splits[Fresh]:
    """Sequences drawn from streams of their own. `data` is not needed."""
    train = Fresh(problem, length, "train", BATCH * UPDATES)
    val, test = Fresh(problem, length, "val", VALIDATION), Fresh(problem, length, "test", TEST)
    # The validation split stands for all: the three are drawn by the same function.
    known = drawn(val, 0)
    return Splits(train, val, test, fingerprint_arrays(known.x.numpy(), known.y.numpy()))


def make_task(problem: str, cell: str = "tanh", length: int = 50, hidden: int = 50) -> Task:
    """A problem of sequences.PROBLEMS at a length T, and a network of so many units of a kind in networks.rnn.CELLS.

    Raises:
        UserError: for a problem or a cell that there is not, a length that the problem is not defined for, or a
            network without units.

    >>> make_task("addition", "lstm", length=100).title
    'Addition of two marked numbers, T = 100, LSTM of 50 units'
    """
    if problem not in PROBLEMS:
        raise UserError(f"there is no problem {problem!r}: choose one of {', '.join(PROBLEMS)}")
    if cell not in CELLS:
        raise UserError(f"there is no cell {cell!r}: choose one of {', '.join(CELLS)}")
    drawing = PROBLEMS[problem]
    if length < drawing.shortest:
        raise UserError(f"a sequence of {problem} has at least {drawing.shortest} steps, got length {length}")
    if hidden < 1:
        raise UserError(f"a network has at least 1 unit, got {hidden}")
    kind = cell.upper() if cell in ("lstm", "gru") else f"{cell} network"
    return Task(
        name=task_name(problem, cell, length, hidden),
        title=f"{drawing.title}, T = {length}, {kind} of {hidden} unit{'s' if hidden > 1 else ''}",
        dataset="sequences (generated)",
        classes=drawing.guess,
        load=partial(load, problem=drawing, length=length),
        model=partial(RNN, cell, drawing.inputs, hidden, drawing.outputs, drawing.read),
        arms=ARMS,
        batch_size=BATCH,
        budgets=(20,),
        seeds=20,
        tune_seeds=3,
        margin=0.01,
        target_accuracy=SUCCESS,
        target_loss=0.01,
        recipe=Recipe(loss=drawing.loss, evaluate=drawing.loss, correct=drawing.correct),
        guess_loss=math.inf,  # not learning is a result here, and no divergence
        replicas=20,
    )


def task_name(problem: str, cell: str, length: int, hidden: int) -> str:
    """What `find_sequence_task` reads.

    >>> task_name("addition", "lstm", 100, 50)
    'rnn-addition:lstm:100:50'
    """
    return f"rnn-{problem}:{cell}:{length}:{hidden}"


def find_sequence_task(name: str) -> Task:
    """The task of a name such as rnn-addition:lstm:100:50: problem, cell, length, units.

    Raises:
        UserError: for a name of another form, and as `make_task`.

    >>> find_sequence_task("rnn-addition:lstm:100:50").name
    'rnn-addition:lstm:100:50'
    """
    match name.removeprefix("rnn-").split(":"):
        case [problem, cell, length, hidden] if length.isdecimal() and hidden.isdecimal():
            return make_task(problem, cell, int(length), int(hidden))
    raise UserError(f"{name!r} is no task: write rnn-PROBLEM:CELL:LENGTH:UNITS, such as rnn-addition:lstm:100:50")


def _registered(problem: str, length: int, hidden: int = 50) -> Task:
    return replace(make_task(problem, "tanh", length, hidden), name=f"rnn-{problem}")


TASKS = (
    _registered("addition", 50),
    _registered("multiplication", 50),
    _registered("temporal-order", 50),
    _registered("temporal-order-3bit", 50),
    _registered("permutation", 50),
    _registered("memorization", 50),
    _registered("latch", 50, hidden=1),  # one unit is all that keeping a bit takes
)
