"""The measurements of a run so far, by step and by epoch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from statistics import fmean, median
from typing import Any

import numpy as np
import torch

from steadystep.lab.training.record import QUANTILES, Curve


@dataclass
class Measurements:
    """Lists of measurements: the first block has one entry per step taken, the second one per finished epoch."""

    loss: list[float] = field(default_factory=list)
    norm_before: list[float] = field(default_factory=list)
    norm_after: list[float] = field(default_factory=list)
    clipped: list[float] = field(default_factory=list)  # 1 where the step was scaled down, else 0
    step_seconds: list[float] = field(default_factory=list)
    optimizer_seconds: list[float] = field(default_factory=list)

    epoch_ends: list[float] = field(default_factory=list)  # steps taken when the epoch ended
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """The number of steps taken."""
        return len(self.loss)

    def curve(self) -> Curve:
        """Aggregate the measurements of the finished epochs into a Curve."""
        ends = [int(end) for end in self.epoch_ends]
        epochs = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        return Curve(
            train_loss=tuple(fmean(self.loss[epoch]) for epoch in epochs),
            val_loss=tuple(self.val_loss),
            val_accuracy=tuple(self.val_accuracy),
            norm_before=tuple(median(self.norm_before[epoch]) for epoch in epochs),
            norm_after=tuple(median(self.norm_after[epoch]) for epoch in epochs),
            clip_rate=tuple(fmean(self.clipped[epoch]) for epoch in epochs),
        )

    def norm_quantiles(self) -> tuple[float, ...]:
        """Return the quantiles, at levels QUANTILES, of the finite norms before clipping; empty if there is none."""
        finite = [norm for norm in self.norm_before if math.isfinite(norm)]  # an optimizer may skip the others
        return tuple(np.quantile(finite, QUANTILES).tolist()) if finite else ()

    def clip_rate(self) -> float:
        """Return the fraction of steps that were clipped; nan if no step was taken."""
        return fmean(self.clipped) if self.clipped else float("nan")

    def state(self) -> dict[str, torch.Tensor]:
        """Return all lists as float64 tensors, which are exact, for a checkpoint."""
        return {f.name: torch.tensor(getattr(self, f.name), dtype=torch.float64) for f in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Measurements":
        """Restore measurements from the result of `state`."""
        return cls(**{name: values.tolist() for name, values in state.items()})
