"""What a task is: a data set, a model, a loss and a budget under one name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple, Protocol

import torch
from typing_extensions import TypeVar

from steadystep.lab.choices import Schedule
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.loss_unit import LossUnit
from steadystep.lab.tasks.recipe import Recipe


class Batch(NamedTuple):
    """Some examples of a split, and their places in it."""

    x: torch.Tensor
    y: torch.Tensor
    chosen: torch.Tensor  # int64

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(self.x.to(device), self.y.to(device), self.chosen.to(device))


class Split(Protocol):
    """One part of a task's data: examples in a fixed order, as batches."""

    def __len__(self) -> int: ...

    def stream(self, order: torch.Tensor, batch: int, epoch: int) -> Iterator[Batch]:
        """The batches of the examples at these places, in this order; the last may be smaller.

        What an example is may depend on the epoch, counted from 0, and on nothing else: a stream that is begun
        anew in mid-epoch goes on as the interrupted one would have.
        """
        ...


@dataclass(frozen=True)
class Arrays:
    """Inputs, as the model takes them, and their labels."""

    x: torch.Tensor  # (examples, ...)
    y: torch.Tensor  # (examples, ...); of a classification (examples,), int64

    def __len__(self) -> int:
        return len(self.y)

    def stream(self, order: torch.Tensor, batch: int, epoch: int) -> Iterator[Batch]:
        """The batches of the examples at these places, in this order; the last may be smaller."""
        for chosen in order.split(batch):
            yield Batch(self.x.index_select(0, chosen), self.y.index_select(0, chosen), chosen)


S_co = TypeVar("S_co", bound=Split, default=Split, covariant=True)


@dataclass(frozen=True)
class Splits(Generic[S_co]):
    """The three parts of a task's data; `fingerprint` names their content."""

    train: S_co
    val: S_co
    test: S_co
    fingerprint: str


@dataclass(frozen=True)
class Claim:
    """One row of the paper's Table 1."""

    accuracy: float  # fraction of 1
    epochs: int


class Frequencies(NamedTuple):
    """What a guess has that knows nothing but how frequent the classes are in the training split."""

    loss: float  # their entropy, nats
    accuracy: float  # the share of the most frequent one, as a fraction of 1


@dataclass(frozen=True, eq=False)
class Task:
    """Dataset x model x loss x budget, with everything that is declared before a result is seen."""

    name: str
    title: str
    dataset: str  # what is loaded, as a person would call it
    classes: int  # a guess is right once in so many, where `frequencies` does not say more
    load: Callable[[Path | None], Splits]
    model: Callable[[], torch.nn.Module]  # called under the trial's seed
    arms: tuple[Arm, ...]
    batch_size: int
    budgets: tuple[int, ...]
    seeds: int
    tune_seeds: int
    margin: float  # accuracies closer than this, as a fraction of 1, count as the same
    target_accuracy: float  # on the validation split: what D1, D2 and D5 wait for
    target_loss: float  # on the training split: what D4 waits for
    schedule: Schedule = "cosine"
    tune_epochs: int | None = None  # how long a tuning run is; None: as long as the runs that it is for
    recipe: Recipe = field(default_factory=Recipe)
    guess_loss: float | None = None  # what guessing costs; None: log(classes)
    frequencies: Frequencies | None = None  # of classes that differ in them, as words do; None: all are as frequent
    loss_unit: LossUnit | None = None  # in which reports show the test loss; None: they do not
    claims: Mapping[str, Claim] = field(default_factory=dict)  # by arm name
    replicas: int = 1  # how many trials are trained side by side: many where starting an operation takes longer than it
    version: int = 1  # raised when the task changes so that its old records no longer stand for it

    @property
    def chance(self) -> float:
        """The accuracy of a guess, as a fraction of 1: what a diverged run counts for."""
        return self.frequencies.accuracy if self.frequencies else 1 / self.classes
