"""What a black box holds of a run: a row of numbers for each step, the last batches, and snapshots."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from steadystep.recorder.state import State


@dataclass(frozen=True)
class Trigger:
    """What made the box freeze, and at which step; steps are counted from 0."""

    kind: str
    """One of `steadystep.recorder.triggers.KINDS`, such as "loss not finite"."""
    step: int
    detail: str = ""
    """A tensor's name, or the value and what was expected; "" if the kind says all."""


@dataclass(frozen=True)
class Snapshot:
    """The state of a run before a step."""

    step: int
    state: State


@dataclass(frozen=True)
class Recording:
    """What is known of the last steps of a run.

    All arrays have a row for each recorded step, oldest first; NaN stands for what was not measured. Those of tensors
    have a column for each parameter of the optimizer. Gradients are those that the optimizer was given, before its own
    clipping.
    """

    names: tuple[str, ...]
    steps: np.ndarray
    """The number of each recorded step, counted from 0."""
    loss: np.ndarray
    lr: np.ndarray
    """A column for each parameter group."""
    applied: np.ndarray
    """1 if the step was applied, 0 if it was refused."""
    scale: np.ndarray
    """The factor by which the gradients were multiplied when they were clipped; 1 if they were not."""
    gradient: np.ndarray
    """The norm of each gradient."""
    largest: np.ndarray
    """The largest absolute element of each gradient."""
    update: np.ndarray
    """The norm of what the step has added to each parameter."""
    weight: np.ndarray
    """The norm of each parameter."""
    batches: Mapping[int, Any] = field(default_factory=dict)
    """The batch of each of the last steps, by the number of the step."""
    snapshots: tuple[Snapshot, ...] = ()
    """Oldest first."""
    trigger: Trigger | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    """The optimizer's class and options, the versions of Python, torch and steadystep, and the device."""

    @property
    def total(self) -> np.ndarray:
        """The norm of all gradients of each step."""
        return np.sqrt(np.nansum(np.square(self.gradient, dtype=np.float64), axis=1)) + np.where(
            np.isnan(self.gradient).any(axis=1), np.nan, 0.0
        )
