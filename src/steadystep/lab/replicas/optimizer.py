"""One arm's optimizer for many replicas: hyperparameters of their own, from step to step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from steadystep.kernels.codegen import settings
from steadystep.lab.training.trial import Trial
from steadystep.optimizers.base import Optimizer
from steadystep.optimizers.param_set import Hyperparameters


@dataclass(frozen=True)
class Coefficients:
    """What the rule is given in some coming steps."""

    own: np.ndarray  # (steps, replicas, tensors, coefficients + 1); the last: that a move is not limited
    shrink: np.ndarray  # (steps, replicas), where decay is decoupled: what parameters are multiplied by; or (steps, 0)

    def of(self, rows: Sequence[int]) -> "Coefficients":
        """Those of some replicas."""
        chosen = np.array(rows, np.int64)
        return Coefficients(self.own.take(chosen, 1), self.shrink.take(chosen, 1) if self.shrink.size else self.shrink)


class ReplicatedOptimizer:
    """One arm's optimizer for replicas that have taken as many steps, each with its own hyperparameters and threshold.

    Args:
        trials: one for each replica; they differ in numbers alone.
        optimizers: the optimizer that each trial would have by itself. They are only asked for their settings.
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
        self._clocks = {name: np.ones(len(trials)) for name in self.rule.clocks}
        self._tensors = len(optimizers[0].param_groups[0]["params"])
        self.steps = 0

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these replicas alone."""
        chosen = np.array(rows, np.int64)
        self.thresholds = self.thresholds[chosen]
        for numbers in (self._values, self._clocks):
            numbers.update({name: value[chosen] for name, value in numbers.items() if isinstance(value, np.ndarray)})

    @property
    def starts(self) -> list[np.ndarray]:
        """What every slot of each replica starts from."""
        first = (self.rule.start.get(slot, 0.0) for slot in self.rule.slots)
        values = (self._values[value] if isinstance(value, str) else value for value in first)
        return [np.broadcast_to(value, self.thresholds.shape) for value in values]

    @property
    def shared(self) -> np.ndarray:
        """What all replicas share besides the rule's coefficients, as `updating.SETTINGS`."""
        direction, coupled, _ = settings(self.rule, self._values)
        return np.array([direction, np.ravel(coupled)[0], 1.0])

    def advance(self, multipliers: Sequence[float]) -> Coefficients:
        """The coefficients of the coming steps, at these multiples of the learning rates. They count as taken."""
        steps, replicas = len(multipliers), len(self.thresholds)
        decoupled = self.rule.decay in ("decoupled", "independent") and self._values["weight_decay"].any()
        shrink = np.ones((steps, replicas if decoupled else 0))
        found = []
        for step, multiplier in enumerate(multipliers):
            self.steps += 1
            values = {**self._values, **self._clocks, "lr": self._values["lr"] * multiplier}
            self._clocks = self.rule.advanced(self.steps, values)
            values |= self._clocks
            found.append([*self.rule.coefficients(self.steps, values).values(), 1.0])
            if decoupled:
                shrink[step] = settings(self.rule, values)[2]
        own = np.array([[np.broadcast_to(coefficient, replicas) for coefficient in row] for row in found])
        return Coefficients(np.repeat(np.swapaxes(own, 1, 2)[:, :, None], self._tensors, axis=2), shrink)

    def state(self) -> dict[str, Any]:
        """All that changes from step to step, in types that load without running code."""
        clocks = {name: torch.from_numpy(clock) for name, clock in self._clocks.items()}
        return {"clocks": clocks, "steps": self.steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]
        self._clocks = {name: clock.numpy() for name, clock in state["clocks"].items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
