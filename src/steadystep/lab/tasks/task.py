"""The definition of a task: a data set, a model, a loss and a budget under one name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from steadystep.lab.choices import Schedule
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.loss_unit import LossUnit
from steadystep.lab.tasks.recipe import Recipe
from steadystep.lab.tasks.splits import Splits


@dataclass(frozen=True)
class Claim:
    """One row of the paper's Table 1."""

    accuracy: float  # as a fraction of 1
    epochs: int


class Frequencies(NamedTuple):
    """The loss and accuracy of a guess that knows only the class frequencies of the training split."""

    loss: float  # entropy of the frequencies, in nats
    accuracy: float  # share of the most frequent class, as a fraction of 1


@dataclass(frozen=True, eq=False)
class Task:
    """A data set, a model, a loss and a budget, with everything that is declared before any result is seen."""

    name: str
    title: str
    dataset: str  # the data set's name as shown to people
    classes: int  # a guess is right with probability 1 / classes, unless `frequencies` says otherwise
    load: Callable[[Path | None], Splits]
    model: Callable[[], torch.nn.Module]  # called under the trial's seed
    arms: tuple[Arm, ...]
    batch_size: int
    budgets: tuple[int, ...]
    seeds: int
    tune_seeds: int
    margin: float  # accuracies that differ by less than this, as a fraction of 1, count as equal
    target_accuracy: float  # on the validation split; used by the convergence measures D1, D2 and D5
    target_loss: float  # on the training split; used by the convergence measure D4
    schedule: Schedule = "cosine"
    tune_epochs: int | None = None  # length of a tuning run; None: as long as the final runs
    recipe: Recipe = field(default_factory=Recipe)
    guess_loss: float | None = None  # loss of a guess; None: log(classes)
    frequencies: Frequencies | None = None  # for classes of unequal frequency, such as words; None: all equally likely
    loss_unit: LossUnit | None = None  # unit in which reports show the test loss; None: they do not show it
    claims: Mapping[str, Claim] = field(default_factory=dict)  # by arm name
    replicas: int = 1  # trials trained side by side: many where launching an operation costs more than computing it
    version: int = 1  # increased when the task changes in a way that invalidates its old records

    @property
    def chance(self) -> float:
        """The accuracy of a guess, as a fraction of 1. A diverged run is counted with this accuracy."""
        return self.frequencies.accuracy if self.frequencies else 1 / self.classes
