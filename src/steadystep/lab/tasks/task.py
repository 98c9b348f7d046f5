"""The definition of a task: a data set, a model, a loss and a budget under one name."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from steadystep.lab.choices import Schedule
from steadystep.lab.errors import UserError
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


LR_RATIOS = {"Lion": 0.2, "LAMB": 4.0, "Adagrad": 8.0}
"""Typical learning rates of other adaptive optimizers, as multiples of Adam's. The ratio of the others is 1."""


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
    target_accuracy: float  # on the validation split; the convergence times refer to it
    target_loss: float  # on the training split; for the epochs to the target loss
    schedule: Schedule = "cosine"
    sweep_epochs: int | None = None  # length of a run of a stability sweep; None: the largest budget
    recipe: Recipe = field(default_factory=Recipe)
    guess_loss: float | None = None  # loss of a guess; None: log(classes)
    must_learn: bool = True  # whether a run that ends no better than a guess counts as diverged
    frequencies: Frequencies | None = None  # for classes of unequal frequency, such as words; None: all equally likely
    loss_unit: LossUnit | None = None  # unit in which reports show the test loss; None: they do not show it
    claims: Mapping[str, Claim] = field(default_factory=dict)  # by arm name
    unlike_paper: str = ""  # how the network differs from the one that the paper describes; "": it is of that kind
    widen: int = 3  # rounds in which a search is widened whose best learning rate lies at its edge
    looks: tuple[int, ...] = ()  # further numbers of seeds, until every pair is decided; (): `seeds` and no more
    replicas: int = 1  # trials trained side by side: many where launching an operation costs more than computing it
    lr_ratios: Mapping[str, float] = field(default_factory=lambda: LR_RATIOS)  # for optimizers without an arm
    version: int = 1  # increased when the task changes in a way that invalidates its old records

    @property
    def chance(self) -> float:
        """The accuracy of a guess, as a fraction of 1. A diverged run is counted with this accuracy."""
        return self.frequencies.accuracy if self.frequencies else 1 / self.classes

    @property
    def loss_of_a_guess(self) -> float:
        """The loss of a guess, in nats: `guess_loss`, or that of classes that are all equally likely."""
        return math.log(self.classes) if self.guess_loss is None else self.guess_loss

    def learning_rates(self, optimizer: str) -> tuple[float, float]:
        """Return the range of an optimizer's declared learning rates, or else Adam's range times a typical ratio."""
        declared = [lr for arm in self.arms if arm.optimizer == optimizer for lr in arm.lrs]
        if declared:
            return min(declared), max(declared)
        ratio = self.lr_ratios.get(optimizer, 1.0)
        if not any(arm.optimizer in ("Adam", "AdamW") for arm in self.arms):
            raise UserError(
                f"{self.name} declares no learning rates for {optimizer}, nor for Adam, from whose they would follow: "
                "give it an arm of one of them"
            )
        scaled = [lr * ratio for arm in self.arms if arm.optimizer in ("Adam", "AdamW") for lr in arm.lrs]
        return min(scaled), max(scaled)
