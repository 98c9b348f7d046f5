"""The clipped step of many replicas at once: the project's rules, clippers and kernels over every replica's tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from steadystep.clipping.factors import to_limit
from steadystep.clipping.stages import Clamp
from steadystep.kernels.cpu.applying import in_two
from steadystep.kernels.cpu.chunks import chunks
from steadystep.kernels.cpu.measuring import Measuring
from steadystep.kernels.cpu.team import TEAM
from steadystep.kernels.cpu.updating import STAGE, update_kernel
from steadystep.kernels.equation import Equation, settings
from steadystep.lab.study.replicas.model import Gradients
from steadystep.lab.study.trial import Trial
from steadystep.optimizers.base import Optimizer
from steadystep.optimizers.cohort import Hyperparameters


@dataclass(frozen=True)
class Sizes:
    """What the gradients of a step measure and how they are clipped; one entry for each replica."""

    norm_before: np.ndarray
    norm_after: np.ndarray
    factor: np.ndarray  # what the gradient is multiplied by
    bound: np.ndarray  # what its elements are limited to
    sound: np.ndarray  # whether it can be stepped with

    def of(self, rows: np.ndarray) -> "Sizes":
        return Sizes(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


class ReplicatedOptimizer:
    """One arm's optimizer for replicas that always step together, each with its own hyperparameters and threshold.

    Args:
        trials: one for each replica; they differ in numbers alone.
        optimizers: the optimizer that each trial would have by itself. They are only asked for their settings.
        parameters: stacked, (replicas, ...) each.
    """

    def __init__(
        self, trials: Sequence[Trial], optimizers: Sequence[Optimizer], parameters: Sequence[torch.Tensor]
    ) -> None:
        groups = [dict(Hyperparameters(optimizer.param_groups[0])) for optimizer in optimizers]
        self._rule = optimizers[0].rule(optimizers[0].param_groups[0])
        self._clip = trials[0].clip.kind if trials[0].clip else None
        self._thresholds = np.array([trial.clip.threshold if trial.clip else np.inf for trial in trials])
        self._values = {
            name: np.array([group[name] for group in groups], np.float64) if _is_number(value) else value
            for name, value in groups[0].items()
        }
        self._equation = Equation(self._rule.update, _nothing_shared, len(self._rule.slots))
        self._kernel = update_kernel(self._equation, parameters[0].dtype, parameters[0].dtype)
        self.slots = [[self._start(slot, parameter) for slot in self._rule.slots] for parameter in parameters]
        self.clocks = {name: np.ones(len(trials)) for name in self._rule.clocks}
        self.steps = 0
        self._measuring: Measuring | None = None  # for as many replicas as there are

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these replicas alone."""
        chosen = rows.numpy()
        self._measuring = None
        self._thresholds = self._thresholds[chosen]
        for numbers in (self._values, self.clocks):
            numbers.update({name: value[chosen] for name, value in numbers.items() if isinstance(value, np.ndarray)})
        self.slots = [[slot[rows] for slot in slots] for slots in self.slots]

    def measure(self, gradients: Gradients) -> Sizes:
        """Norms before and after clipping, and what clipping does, for each replica."""
        norms, peaks = self._sizes(gradients)
        before = after = _total(norms)
        factor, bound = np.ones(len(gradients)), np.full(len(gradients), np.inf)
        largest = peaks.max(1)
        if self._clip == "norm":
            factor, _ = to_limit(before, self._thresholds)
            after, largest = before * factor, largest * factor
        elif self._clip == "value":
            bound = self._thresholds
            clamps = [Clamp(float(threshold)) for threshold in bound]
            norms, clipped = self._sizes(
                [tuple(c(g, 0) for g in row) for c, row in zip(clamps, gradients, strict=True)]
            )
            after, largest = _total(norms), clipped.max(1)
        # As in a guarded step: the raw gradient must be finite, and the square of what is left of it too.
        limit = torch.finfo(gradients[0][0].dtype).max ** 0.5
        sound = np.isfinite(peaks).all(1) & (largest <= limit)
        return Sizes(before, after, factor, bound, sound)

    def apply(
        self, parameters: Sequence[torch.Tensor], gradients: Gradients, sizes: Sizes, lr_multiplier: float
    ) -> None:
        """Write the rule's update of every replica's parameters and state, at lr_multiplier times its learning rate."""
        replicas, tensors = len(gradients), len(parameters)
        self.steps += 1
        values = {**self._values, **self.clocks, "lr": self._values["lr"] * lr_multiplier}
        self.clocks = self._rule.advanced(self.steps, values)
        values |= self.clocks
        coefficients = self._rule.coefficients(self.steps, values)
        own = np.ones((replicas, tensors, len(coefficients) + 1))  # the last: the move is not limited
        for column, coefficient in enumerate(coefficients.values()):
            own[:, :, column] = np.reshape(coefficient, (-1, 1))
        stage = np.ones((replicas, tensors, len(STAGE)))
        for name, factors in zip(("before", "before_again"), in_two(sizes.factor), strict=True):
            if factors is not None:
                stage[:, :, STAGE.index(name)] = np.reshape(factors, (-1, 1))
        stage[:, :, STAGE.index("bound")] = sizes.bound[:, None]
        addresses = np.empty((replicas, tensors, 2 + len(self._rule.slots)), np.int64)
        addresses[:, :, 0] = [[gradient.data_ptr() for gradient in row] for row in gradients]
        for index, (parameter, slots) in enumerate(zip(parameters, self.slots, strict=True)):
            for column, tensor in enumerate((parameter, *slots), start=1):
                row_bytes = tensor.stride(0) * tensor.itemsize
                addresses[:, index, column] = tensor.data_ptr() + row_bytes * np.arange(replicas)
        work = chunks(tuple([gradient.numel() for gradient in gradients[0]]) * replicas)
        TEAM.run(
            self._kernel,
            work.elements,
            work.table,
            addresses.reshape(replicas * tensors, -1),
            stage.reshape(replicas * tensors, -1),
            np.array(self._shrink(parameters, values), np.float64),
            own.reshape(replicas * tensors, -1),
            np.empty((0, 0)),
        )

    def _sizes(self, gradients: Gradients) -> tuple[np.ndarray, np.ndarray]:
        """(replicas, parameters) Euclidean norms and largest magnitudes."""
        if self._measuring is None:
            kind, counts = gradients[0][0].dtype, [gradient.numel() for gradient in gradients[0]]
            self._measuring = Measuring(kind, tuple(counts * len(gradients)))
        addresses = [gradient.data_ptr() for row in gradients for gradient in row]
        norms, peaks = self._measuring.run(np.array(addresses, np.int64))
        return norms.reshape(len(gradients), -1), peaks.reshape(len(gradients), -1)

    def _start(self, slot: str, parameter: torch.Tensor) -> torch.Tensor:
        first = self._rule.start.get(slot, 0.0)
        value = self._values[first] if isinstance(first, str) else first
        rows = torch.from_numpy(np.broadcast_to(value, len(parameter)).copy()).to(parameter.dtype)
        return _for_each(rows, parameter).expand_as(parameter).clone()

    def _shrink(self, parameters: Sequence[torch.Tensor], values: Mapping[str, Any]) -> tuple[float, float, float]:
        """Weight decay outside the rule; returns what of it the kernel has still to do, as `updating.SETTINGS`."""
        direction, coupled, shrink = settings(self._rule, values)
        if not values["weight_decay"].any() or self._rule.decay == "within":
            return direction, 0.0, 1.0
        if self._rule.decay == "coupled":
            return direction, float(coupled[0]), 1.0
        # The kernel shrinks all parameters alike, and here each replica has its own learning rate.
        factors = torch.from_numpy(shrink)
        for parameter in parameters:
            parameter.mul_(_for_each(factors.to(parameter.dtype), parameter))
        return direction, 0.0, 1.0

    def state(self) -> dict[str, Any]:
        """All that changes from step to step, in types that load without running code."""
        clocks = {name: torch.from_numpy(clock) for name, clock in self.clocks.items()}
        return {"slots": self.slots, "clocks": clocks, "steps": self.steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.slots, self.steps = state["slots"], state["steps"]
        self.clocks = {name: clock.numpy() for name, clock in state["clocks"].items()}


def _for_each(values: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """One value for each replica, shaped to meet a stacked parameter."""
    return values.view(-1, *[1] * (parameter.dim() - 1))


def _nothing_shared() -> tuple[()]:
    """In the place of a rule's sums: replicas share no coefficient, so each tensor has all of them for itself."""
    return ()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _total(norms: np.ndarray) -> np.ndarray:
    """The norm of each row, scaled so that no square overflows or vanishes. Non-finite if an entry is."""
    peaks = norms.max(1)
    scale = np.where((peaks > 0) & np.isfinite(peaks), peaks, 1.0)
    return scale * np.sqrt(np.einsum("ij,ij->i", norms / scale[:, None], norms / scale[:, None]))
