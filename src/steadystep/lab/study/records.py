"""The records of a study by arm and budget, and the results of a finished one, which include the chosen settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steadystep.lab.study.spec import Study
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial

Cell = tuple[str, int]
"""An arm's name and a budget of epochs."""


@dataclass(frozen=True)
class Results:
    """The records of a study by arm and budget. `final` records are in the order of their seeds, so they are paired."""

    study: Study
    task: Task
    chosen: Mapping[Cell, Trial]  # the best tuning trial; the final runs use its lr and clip
    tuning: Mapping[Cell, Sequence[Record]]
    final: Mapping[Cell, Sequence[Record]]
    test_seen: int = 0  # test results that existed when the study got this declaration


@dataclass(frozen=True)
class Run:
    """A record, and the arm and the budget that its study ran it for.

    Budgets may share tuning runs; there is then one `Run` for each budget, with the same record.
    """

    arm: str
    budget: int
    record: Record
