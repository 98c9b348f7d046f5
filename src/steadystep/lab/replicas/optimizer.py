"""The optimizer of one arm for many replicas, each of which has its own hyperparameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from steadystep.kernels.codegen import direction_and_decay
from steadystep.lab.training.trial import Trial
from steadystep.optimizers.base import Optimizer
from steadystep.optimizers.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class Coefficients:
    """The coefficients of the rule for the next steps."""

    per_tensor: np.ndarray
    """(steps, replicas, tensors, coefficients + 1); the last is the limit of the update, always 1: no limit."""

    shrink: np.ndarray
    """The factor that decoupled weight decay multiplies parameters by, (steps, replicas); without it (steps, 0)."""

    def select(self, rows: Sequence[int]) -> "Coefficients":
        """Return the coefficients of these replicas."""
        indices = np.array(rows, np.int64)
        shrink = self.shrink.take(indices, 1) if self.shrink.size else self.shrink
        return Coefficients(self.per_tensor.take(indices, 1), shrink)


class ReplicatedOptimizer:
    """The optimizer of one arm for replicas that have taken the same number of steps.

    Each replica has its own hyperparameters and clipping threshold.

    Args:
        trials: the trial of each replica. The trials differ in numbers only.
        optimizers: the optimizer that each trial would have when trained alone. Only their options are read.
    """

    def __init__(self, trials: Sequence[Trial], optimizers: Sequence[Optimizer]) -> None:
        groups = [dict(Hyperparameters(optimizer.param_groups[0])) for optimizer in optimizers]
        self.rule = optimizers[0].rule(optimizers[0].param_groups[0])
        self.clip = trials[0].clip.kind if trials[0].clip else None
        self.thresholds = np.array([trial.clip.threshold if trial.clip else np.inf for trial in trials])
        self._values = {
            name: np.array([group[name] for group in groups], np.float64) if _is_number(value) else value
            for name, value in groups[0].items()
        }
        self._counters = {name: np.ones(len(trials)) for name in self.rule.counters}
        self._tensors = len(optimizers[0].param_groups[0]["params"])
        self.steps = 0

    def select(self, rows: Sequence[int]) -> None:
        """Keep only these replicas."""
        indices = np.array(rows, np.int64)
        self.thresholds = self.thresholds[indices]
        for values in (self._values, self._counters):
            values.update({name: value[indices] for name, value in values.items() if isinstance(value, np.ndarray)})

    @property
    def initial_slots(self) -> list[np.ndarray]:
        """The initial values of each slot, an array of shape (replicas,) per slot."""
        starts = (self.rule.start.get(slot, 0.0) for slot in self.rule.slots)
        values = (self._values[start] if isinstance(start, str) else start for start in starts)
        return [np.broadcast_to(value, self.thresholds.shape) for value in values]

    @property
    def shared_settings(self) -> np.ndarray:
        """The settings that all replicas share, in the order of `update_kernel.SETTINGS`."""
        direction, coupled, _ = direction_and_decay(self.rule, self._values)
        return np.array([direction, np.ravel(coupled)[0], 1.0])

    def advance(self, multipliers: Sequence[float]) -> Coefficients:
        """Advance the counters by the next steps and return the coefficients of these steps.

        Args:
            multipliers: the factor on the learning rates in each of the steps.
        """
        steps, replicas = len(multipliers), len(self.thresholds)
        decoupled = self.rule.decay in ("decoupled", "independent") and self._values["weight_decay"].any()
        shrink = np.ones((steps, replicas if decoupled else 0))
        rows = []
        for step, multiplier in enumerate(multipliers):
            self.steps += 1
            values = {**self._values, **self._counters, "lr": self._values["lr"] * multiplier}
            self._counters = self.rule.advanced(self.steps, values)
            values |= self._counters
            rows.append([*self.rule.coefficients(self.steps, values).values(), 1.0])
            if decoupled:
                shrink[step] = direction_and_decay(self.rule, values)[2]
        per_replica = np.array([[np.broadcast_to(coefficient, replicas) for coefficient in row] for row in rows])
        per_tensor = np.repeat(np.swapaxes(per_replica, 1, 2)[:, :, None], self._tensors, axis=2)
        return Coefficients(per_tensor, shrink)

    def state(self) -> dict[str, Any]:
        """Return everything that changes from step to step, in types that load without running code."""
        counters = {name: torch.from_numpy(counter) for name, counter in self._counters.items()}
        return {"clocks": counters, "steps": self.steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Load a state that `state` returned."""
        self.steps = state["steps"]
        self._counters = {name: counter.numpy() for name, counter in state["clocks"].items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
