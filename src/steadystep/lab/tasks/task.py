"""What a task is: a data set, a model, a loss and a budget under one name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from steadystep.lab.tasks.arms import Arm


@dataclass(frozen=True)
class Split:
    """Inputs, ready for the model, and their labels."""

    x: torch.Tensor  # (examples, ...), float32
    y: torch.Tensor  # (examples,), int64


@dataclass(frozen=True)
class Splits:
    """The three parts of a task's data; `fingerprint` names their content."""

    train: Split
    val: Split
    test: Split
    fingerprint: str


@dataclass(frozen=True)
class Claim:
    """One row of the paper's Table 1."""

    accuracy: float  # fraction of 1
    epochs: int


@dataclass(frozen=True)
class Task:
    """Dataset x model x loss x budget, with everything that is declared before a result is seen."""

    name: str
    title: str
    dataset: str  # what is loaded, as a person would call it
    classes: int
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
    claims: Mapping[str, Claim] = field(default_factory=dict)  # by arm name
    replicas: int = 1  # how many trials are trained as one batched model: many where a model leaves a core idle
    version: int = 1  # raised when the task changes so that its old records no longer stand for it
