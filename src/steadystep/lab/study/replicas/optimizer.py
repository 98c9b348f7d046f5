"""The clipped step of many replicas at once: the project's rules, clippers and kernels over every replica's tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import types

from steadystep.clipping.stages import Clamp
from steadystep.kernels.cpu.applying import SMALLEST_FACTOR
from steadystep.kernels.cpu.chunks import chunks
from steadystep.kernels.cpu.compiling import compiled
from steadystep.kernels.cpu.measuring import Measuring
from steadystep.kernels.cpu.team import TEAM
from steadystep.kernels.cpu.updating import NOTHING, STAGE, update_kernel
from steadystep.kernels.equation import Equation, settings
from steadystep.lab.study.replicas.desk import Desk
from steadystep.lab.study.replicas.layout import Layout
from steadystep.lab.study.trial import Trial
from steadystep.optimizers.base import Optimizer
from steadystep.optimizers.cohort import Hyperparameters


@dataclass(frozen=True)
class Coefficients:
    """What the rule is given in some coming steps."""

    own: np.ndarray  # (steps, replicas, tensors, coefficients + 1); the last: that a move is not limited
    shrink: np.ndarray | None  # (steps, replicas), where decay is decoupled: what parameters are multiplied by before

    def of(self, rows: Sequence[int]) -> "Coefficients":
        """Those of some replicas."""
        return Coefficients(self.own[:, rows], None if self.shrink is None else self.shrink[:, rows])


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
        shrink = np.ones((steps, replicas)) if decoupled else None
        found = []
        for step, multiplier in enumerate(multipliers):
            self.steps += 1
            values = {**self._values, **self._clocks, "lr": self._values["lr"] * multiplier}
            self._clocks = self.rule.advanced(self.steps, values)
            values |= self._clocks
            found.append([*self.rule.coefficients(self.steps, values).values(), 1.0])
            if shrink is not None:
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


BEFORE, AFTER, SOUND = range(3)
"""What is found for each replica: its gradient's norm, that of what the rule is given, and 1 if a step can be taken."""


class ClippedStep:
    """Clips and applies the gradients of a desk, where they are."""

    def __init__(self, optimizer: ReplicatedOptimizer, desk: Desk, layout: Layout) -> None:
        replicas, dtype = len(desk.memory), desk.memory.dtype
        self._clip, self._desk, self._layout = optimizer.clip, desk, layout
        self.sizes = np.empty((replicas, 3))
        self._limits = np.full(replicas, np.inf)
        sizes = tuple(layout.counts * replicas)
        self._measuring = Measuring(dtype, sizes)
        self._norms, self._peaks = np.zeros((2, len(sizes)))
        self._stage = np.tile(NOTHING, (len(sizes), 1))
        self._chunks = chunks(sizes)
        rule = optimizer.rule
        self._of_gradients, of_parameters = (
            np.array([tensor[replica].data_ptr() for replica in range(replicas) for tensor in tensors], np.int64)
            for tensors in (desk.gradients, desk.parameters)
        )
        self._addresses = np.stack([self._of_gradients, of_parameters, *[of_parameters] * len(rule.slots)], axis=1)
        # From the beginning of a row to each parameter of every slot, in bytes.
        to_parameters = (of_parameters[: len(layout.shapes)] - desk.memory.data_ptr()).reshape(-1, 1)
        self._to_slots = to_parameters + desk.memory.itemsize * layout.stride * np.arange(1, 1 + layout.slots)
        equation = Equation(rule.update, _nothing_shared, len(rule.slots))
        self._update, plain = (update_kernel(equation, dtype, dtype, plain) for plain in (False, True))
        self._shared, self._no_totals = optimizer.shared, np.empty((0, 0))
        self._judge, self._in_two = _judge(), False
        # As in a guarded step: the square of what is left of a gradient must be finite.
        self._allowed = torch.finfo(dtype).max ** 0.5
        self._plain = plain if optimizer.clip != "value" and not self._shared[1] else self._update

    def seat(self, rows: Sequence[int], memory: torch.Tensor, thresholds: np.ndarray) -> None:
        """Say who is at the desk: in which rows of memory their slots are, and the thresholds of all rows."""
        tensors = len(self._to_slots)
        for place, row in enumerate(rows):
            self._addresses[place * tensors : (place + 1) * tensors, 2:] = memory[row].data_ptr() + self._to_slots
        if self._clip == "value":
            self._stage[:, BOUND] = np.repeat(thresholds[rows], tensors)
        else:
            self._limits[:] = thresholds[rows]

    def measure(self) -> bool:
        """Find the `sizes` of all gradients; whether every replica can take its step."""
        self._measuring.run_into(self._norms, self._peaks, self._of_gradients)
        after = (self._norms, self._peaks) if self._clip != "value" else self._clamped()
        sound, self._in_two = self._judge(
            self._norms, self._peaks, *after, self._limits, self._allowed, self.sizes, self._stage
        )
        return sound

    def apply(self, coefficients: Coefficients, step: int) -> None:
        """Write the rule's update of every replica's parameters and state, with this step's coefficients."""
        if coefficients.shrink is not None:
            shrink = torch.from_numpy(coefficients.shrink[step]).to(self._desk.memory.dtype)
            for parameter in self._desk.parameters:
                parameter.mul_(shrink.view(-1, *[1] * (parameter.dim() - 1)))
        kernel = self._update if self._in_two else self._plain
        work, own = self._chunks, coefficients.own[step].reshape(len(self._norms), -1)
        totals = self._no_totals
        TEAM.run(kernel, work.elements, work.table, self._addresses, self._stage, self._shared, own, totals)

    def _clamped(self) -> tuple[np.ndarray, np.ndarray]:
        """Norms and largest elements of the gradients, limited to the replicas' thresholds."""
        bounds = self._stage[:, BOUND].reshape(len(self.sizes), -1)
        rows = [
            Clamp(float(bound))(gradient[replica], 0)
            for replica, row in enumerate(bounds)
            for gradient, bound in zip(self._desk.gradients, row, strict=True)
        ]
        return self._measuring.run(np.array([row.data_ptr() for row in rows], np.int64))


BOUND = STAGE.index("bound")

# Norms and peaks, and the same once elements are limited, are those of each tensor, a replica's one after the other.
# A replica's norm is taken of scaled ones, so that no square overflows or vanishes.
_JUDGE = """
def kernel(norms, peaks, limited_norms, limited_peaks, limits, allowed, sizes, stage):
    replicas = len(limits)
    tensors = len(norms) // replicas
    all_sound = True
    in_two = False
    for replica in range(replicas):
        first, end = replica * tensors, (replica + 1) * tensors
        for column in range(2):
            each = norms if column == 0 else limited_norms
            total = 0.0
            for tensor in range(first, end):
                total = each[tensor] if (each[tensor] > total) | (each[tensor] != each[tensor]) else total
            if (total > 0.0) & (total < inf):
                squares = 0.0
                for tensor in range(first, end):
                    squares += (each[tensor] / total) ** 2
                total *= sqrt(squares)
            sizes[replica, column] = total
        factor = 1.0
        if (sizes[replica, 0] > limits[replica]) & (sizes[replica, 0] < inf):
            factor = limits[replica] / sizes[replica, 0]
        sizes[replica, 1] *= factor
        sound = True
        for tensor in range(first, end):
            sound &= (peaks[tensor] < inf) & (limited_peaks[tensor] * factor <= allowed)
        sizes[replica, 2] = float64(sound)
        all_sound &= sound
        again = 1.0
        if factor < SMALLEST:
            factor = again = sqrt(factor)
            in_two = True
        for tensor in range(first, end):
            stage[tensor, 0] = factor
            stage[tensor, 1] = again
    return all_sound, in_two
"""


@cache
def _judge() -> Any:
    vector, matrix, number = types.float64[::1], types.float64[:, ::1], types.float64
    found = types.UniTuple(types.boolean, 2)
    signature = found(vector, vector, vector, vector, vector, number, matrix, matrix)
    return compiled("judge_replicas", _JUDGE, {"SMALLEST": SMALLEST_FACTOR}, None, signature)


def _nothing_shared() -> tuple[()]:
    """In the place of a rule's sums: replicas share no coefficient, so each tensor has all of them for itself."""
    return ()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
