"""rnn-*: recurrent networks on generated sequences with long time lags, where gradients vanish and explode."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.data import fingerprint_arrays
from steadystep.lab.tasks.networks.rnn import CELLS, RNN
from steadystep.lab.tasks.options import LARGEST, is_size
from steadystep.lab.tasks.recipe import Recipe
from steadystep.lab.tasks.sequences import PROBLEMS
from steadystep.lab.tasks.sequences.fresh import FreshSequences, draw_epoch
from steadystep.lab.tasks.sequences.problem import Problem
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.tasks.task import Task

BATCH = 20
UPDATES = 200
"""Updates per epoch."""

VALIDATION, TEST = 1_000, 10_000

SUCCESS = 0.99
"""A run succeeds if more than this share of the 10,000 test sequences is correct: Pascanu et al. (2013)."""

ARMS = (
    Arm(name="SGD", optimizer="SGD", lrs=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0)),
    Arm(name="SGD + norm", optimizer="SGD", lrs=(0.1, 0.3, 1.0), clip="norm", quantiles=(0.5, 0.9)),
    Arm(name="Adam", optimizer="Adam", lrs=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
    Arm(name="Adam + norm", optimizer="Adam", lrs=(1e-3, 3e-3, 1e-2), clip="norm", quantiles=(0.5, 0.9)),
)


def load(data: Path | None, *, problem: Problem, length: int) -> Splits[FreshSequences]:
    """Return generated splits, each with a separate random stream. `data` is ignored."""
    train = FreshSequences(problem, length, "train", BATCH * UPDATES)
    val = FreshSequences(problem, length, "val", VALIDATION)
    test = FreshSequences(problem, length, "test", TEST)
    # The validation split identifies all three, since the same function draws them.
    sample = draw_epoch(val, 0)
    return Splits(train, val, test, fingerprint_arrays(sample.x.numpy(), sample.y.numpy()))


def make_task(problem: str, cell: str = "tanh", length: int = 50, hidden: int = 50) -> Task:
    """Return the task of a problem and a recurrent network.

    Args:
        problem: A name in `sequences.PROBLEMS`.
        cell: A kind of cell in `networks.rnn.CELLS`.
        length: The length T of the sequences.
        hidden: The number of hidden units.

    Raises:
        UserError: If the problem or the cell is unknown, the problem is not defined for the length, or the network has
            no units.

    >>> make_task("addition", "lstm", length=100).title
    'Addition of two marked numbers, T = 100, LSTM of 50 units'
    """
    if problem not in PROBLEMS:
        raise UserError(f"there is no problem {problem!r}: choose one of {', '.join(PROBLEMS)}")
    if cell not in CELLS:
        raise UserError(f"there is no cell {cell!r}: choose one of {', '.join(CELLS)}")
    definition = PROBLEMS[problem]
    if length < definition.shortest:
        raise UserError(f"a sequence of {problem} has at least {definition.shortest} steps, got length {length}")
    if hidden < 1:
        raise UserError(f"a network has at least 1 unit, got {hidden}")
    kind = cell.upper() if cell in ("lstm", "gru") else f"{cell} network"
    return Task(
        name=task_name(problem, cell, length, hidden),
        title=f"{definition.title}, T = {length}, {kind} of {hidden} unit{'s' if hidden > 1 else ''}",
        dataset="sequences (generated)",
        classes=definition.guess,
        load=partial(load, problem=definition, length=length),
        model=partial(RNN, cell, definition.inputs, hidden, definition.outputs, definition.read),
        arms=ARMS,
        batch_size=BATCH,
        budgets=(20,),
        seeds=20,
        tune_seeds=3,
        margin=0.01,
        target_accuracy=SUCCESS,
        target_loss=0.01,
        recipe=Recipe(loss=definition.loss, evaluate=definition.loss, correct=definition.correct),
        guess_loss=definition.guess_loss,
        must_learn=False,  # a run that does not is a result here
        replicas=20,
    )


def task_name(problem: str, cell: str, length: int, hidden: int) -> str:
    """Return the name from which `find_sequence_task` makes the task.

    >>> task_name("addition", "lstm", 100, 50)
    'rnn-addition:lstm:100:50'
    """
    return f"rnn-{problem}:{cell}:{length}:{hidden}"


def find_sequence_task(name: str) -> Task:
    """Return the task of a name with options, such as rnn-addition:lstm:100:50: problem, cell, length and units.

    Raises:
        UserError: If the name has another form, or as `make_task`.

    >>> find_sequence_task("rnn-addition:lstm:100:50").name
    'rnn-addition:lstm:100:50'
    """
    match name.removeprefix("rnn-").split(":"):
        case [problem, cell, length, hidden] if is_size(length) and is_size(hidden):
            return make_task(problem, cell, int(length), int(hidden))
    raise UserError(
        f"{name!r} is not a task: write rnn-PROBLEM:CELL:LENGTH:UNITS, such as rnn-addition:lstm:100:50, with numbers "
        f"from 1 to {LARGEST}"
    )


def _registered(problem: str, length: int, hidden: int = 50) -> Task:
    return replace(make_task(problem, "tanh", length, hidden), name=f"rnn-{problem}")


TASKS = (
    _registered("addition", 50),
    _registered("multiplication", 50),
    _registered("temporal-order", 50),
    _registered("temporal-order-3bit", 50),
    _registered("permutation", 50),
    _registered("memorization", 50),
    _registered("latch", 50, hidden=1),  # one unit is enough to store one bit
)
