"""Declare a measurement of success rates: several arms on one problem, over recurrent cells and lengths."""

from collections.abc import Sequence
from dataclasses import dataclass

from steadystep.lab.errors import UserError
from steadystep.lab.study.explain import one_line_errors
from steadystep.lab.study.spec import Study
from steadystep.lab.tasks.arms import Arm, current_name
from steadystep.lab.tasks.names import closest_name, match_name
from steadystep.lab.tasks.networks.rnn import CELLS
from steadystep.lab.tasks.rnn import ARMS, make_task
from steadystep.lab.tasks.sequences import PROBLEMS
from steadystep.lab.tasks.task import Task


@dataclass(frozen=True)
class Measurement:
    """A declared measurement. Arms are tuned per cell at one length and evaluated at all lengths on separate seeds."""

    problem: str
    cells: tuple[str, ...]
    lengths: tuple[int, ...]
    arms: tuple[Arm, ...]
    seeds: int
    tune_seeds: int
    epochs: int
    hidden: int
    tuned_at: int

    def task(self, cell: str, length: int) -> Task:
        """Return the task of one cell at one length."""
        return make_task(self.problem, cell, length, self.hidden)

    def study(self, task: Task) -> Study:
        """Return the study of one task; raise an error unless all arms have the same number of settings to try."""
        return Study(
            task=task.name,
            arms=self.arms,
            seeds=self.seeds,
            tune_seeds=self.tune_seeds,
            budgets=(self.epochs,),
            batch_size=task.batch_size,
            schedule=task.schedule,
        )


def measurement_for(
    name: str,
    *,
    cells: Sequence[str] = ("tanh",),
    lengths: Sequence[int] = (10, 20, 30, 40),
    arms: Sequence[str] = (),
    seeds: int = 20,
    tune_seeds: int = 3,
    epochs: int = 20,
    hidden: int = 50,
) -> Measurement:
    """Declare a measurement. Its arms are tuned at the lower median of its lengths.

    Args:
        name: name of a task, such as rnn-addition.
        cells: names from `networks.rnn.CELLS`. Default: "tanh".
        lengths: sequence lengths T. Default 10, 20, 30, 40.
        arms: names of arms of the task. Default: all.
        seeds: number of runs of each arm at each length. Default 20.
        tune_seeds: number of tuning runs of each setting. Default 3.
        epochs: epochs of each run. Default 20.
        hidden: number of hidden units. Default 50.

    Raises:
        UserError: if a name is unknown, if the problem is not defined for a length, or if a clipped arm comes without
            the unclipped arm that its thresholds are derived from.

    >>> measurement_for("rnn-addition", lengths=(40, 10, 20, 30)).tuned_at
    20
    """
    written = name.strip().lower()
    problem = written.removeprefix("rnn-")
    if problem == written or problem not in PROBLEMS:
        known = ", ".join(f"rnn-{problem}" for problem in PROBLEMS)
        raise UserError(f"success rates are measured on generated sequences, got {name!r}: choose one of {known}")
    chosen = {_arm_name(arm) for arm in arms}
    lengths, cells = (
        tuple(sorted(set(lengths))),
        tuple(dict.fromkeys(match_name(cell, CELLS) or cell for cell in cells)),
    )
    if not lengths or not cells:
        raise UserError("at least one length and one cell are needed: set them with --lengths and --cells")
    declared = Measurement(
        problem,
        cells,
        lengths,
        tuple(arm for arm in ARMS if not chosen or arm.name in chosen),
        seeds,
        tune_seeds,
        epochs,
        hidden,
        tuned_at=lengths[(len(lengths) - 1) // 2],
    )
    with one_line_errors():
        for cell in cells:
            for length in lengths:
                declared.study(declared.task(cell, length))
    return declared


def _arm_name(name: str) -> str:
    known = [arm.name for arm in ARMS]
    matching = match_name(name, known) or match_name(current_name(name.lower()), known)
    if matching is None:
        closest = closest_name(name, known)
        hint = f"; did you mean {closest}?" if closest else ""
        raise UserError(f"unknown arm {name!r}: choose one of {', '.join(known)}{hint}")
    return matching
