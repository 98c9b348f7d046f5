"""The clipped step of the replicas at a desk: the project's rules, clippers and kernels over all their tensors."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import types

from steadystep.clipping.transforms import Clamp
from steadystep.kernels.codegen import Equation
from steadystep.kernels.cpu.jit import compile_kernel
from steadystep.kernels.cpu.norm_kernel import NormPass, collect_kernel, norms_kernel
from steadystep.kernels.cpu.parallel import chunks
from steadystep.kernels.cpu.update_kernel import NOTHING, STAGE, update_kernel
from steadystep.kernels.cpu.update_pass import SMALLEST_FACTOR
from steadystep.lab.replicas.memory_layout import Layout
from steadystep.lab.replicas.optimizer import Coefficients, ReplicatedOptimizer
from steadystep.lab.replicas.workspace import Desk

BEFORE, AFTER, SOUND = range(3)
"""What is found for each replica: its gradient's norm, that of what the rule is given, and 1 if a step can be taken."""

BOUND = STAGE.index("bound")


class ClippedStep:
    """Clips and applies the gradients of a desk, where they are.

    Attributes:
        sizes: (replicas, 3), of the last step that was asked for.
    """

    def __init__(self, optimizer: ReplicatedOptimizer, desk: Desk, layout: Layout) -> None:
        replicas, dtype = len(desk.memory), desk.memory.dtype
        self._clip, self._desk = optimizer.clip, desk
        self.sizes = np.empty((replicas, 3))
        self._limits = np.full(replicas, np.inf)
        sizes = tuple(layout.counts * replicas)
        self._measuring = NormPass(dtype, sizes)
        self._work = chunks(sizes).table
        self._found, self._parts = np.zeros((2, len(sizes))), np.empty((3, len(self._work)))
        self._stage = np.tile(NOTHING, (len(sizes), 1))
        rule = optimizer.rule
        self._of_gradients, of_parameters = (
            np.array([tensor[replica].data_ptr() for replica in range(replicas) for tensor in tensors], np.int64)
            for tensors in (desk.gradients, desk.parameters)
        )
        self._addresses = np.stack([self._of_gradients, of_parameters, *[of_parameters] * len(rule.slots)], axis=1)
        # From the beginning of a row to each parameter of every slot, in bytes.
        to_parameters = (of_parameters[: len(layout.shapes)] - desk.memory.data_ptr()).reshape(-1, 1)
        self._to_slots = to_parameters + desk.memory.itemsize * layout.stride * np.arange(1, 1 + layout.slots)
        self._losses, self._memory, self._shared = desk.losses.numpy(), desk.memory.numpy(), optimizer.shared
        # As in a guarded step: the square of what is left of a gradient must be finite.
        self._allowed = torch.finfo(dtype).max ** 0.5
        equation = Equation(rule.update, _nothing_shared, len(rule.slots))
        plain = optimizer.clip != "value" and not self._shared[1]
        self._take = _kernel(equation, dtype, plain)

    def seat(self, rows: Sequence[int], memory: torch.Tensor, thresholds: np.ndarray) -> None:
        """Say who is at the desk: in which rows of memory their slots are, and the thresholds of all rows."""
        tensors = len(self._to_slots)
        for place, row in enumerate(rows):
            self._addresses[place * tensors : (place + 1) * tensors, 2:] = memory[row].data_ptr() + self._to_slots
        if self._clip == "value":
            self._stage[:, BOUND] = np.repeat(thresholds[rows], tensors)
        else:
            self._limits[:] = thresholds[rows]

    def take(self, coefficients: Coefficients, step: int) -> bool:
        """Write the rule's update of every replica's parameters and state, with these coefficients of a step.

        Returns False, with nothing written, where a replica cannot take it: its loss or gradient is not finite.
        """
        return self._take(
            self._work, self._of_gradients, self._found, self._clamped() if self._clip == "value" else self._found,
            self._parts, self._losses, self._limits, self._allowed, self.sizes, self._stage, self._memory,
            coefficients.shrink[step], self._addresses, self._shared, coefficients.own[step],
        )  # fmt: skip

    def _clamped(self) -> np.ndarray:
        """Norms and largest elements of the gradients, limited to the replicas' thresholds."""
        bounds = self._stage[:, BOUND].reshape(len(self.sizes), -1)
        rows = [
            Clamp(float(bound))(gradient[replica], 0)
            for replica, row in enumerate(bounds)
            for gradient, bound in zip(self._desk.gradients, row, strict=True)
        ]
        return np.stack(self._measuring.run(np.array([row.data_ptr() for row in rows], np.int64)))


# Norms and peaks, and the same once elements are limited, are those of each tensor, a replica's one after the other.
# A replica's norm is taken of scaled ones, so that no square overflows or vanishes.
_JUDGE = """
def kernel(found, limited, limits, allowed, sizes, stage):
    norms, peaks, limited_norms, limited_peaks = found[0], found[1], limited[0], limited[1]
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

_STEP = """
def kernel(
    work, of_gradients, found, limited, parts, losses, limits, allowed, sizes, stage,
    memory, shrink, addresses, shared, own,
):
    counters = zeros(2, int64)
    norms(counters, work, of_gradients, parts[0], parts[1], parts[2])
    collect(work, parts[0], parts[1], parts[2], found[0], found[1])
    sound, in_two = judge(found, limited, limits, allowed, sizes, stage)
    for replica in range(len(losses)):
        sound &= (losses[replica] - losses[replica]) == 0
    if not sound:
        return False
    for replica in range(len(shrink)):
        memory[replica] *= memory.dtype.type(shrink[replica])
    counters[:] = 0
    of_tensors = own.reshape(len(stage), own.shape[2])
    if in_two:
        update(counters, work, addresses, stage, shared, of_tensors, zeros((0, 0), float64))
    else:
        plain(counters, work, addresses, stage, shared, of_tensors, zeros((0, 0), float64))
    return True
"""


@cache
def _kernel(equation: Equation, dtype: torch.dtype, plain: bool) -> Callable[..., bool]:
    """One step's measuring, judging, clipping and writing, in one call."""
    number = {torch.float32: types.float32, torch.float64: types.float64}[dtype]
    vector, matrix, words = types.float64[::1], types.float64[:, ::1], types.int64[::1]
    sizes = matrix, matrix, vector, types.float64, matrix, matrix
    judge = compile_kernel(
        "judge_replicas", _JUDGE, {"SMALLEST": SMALLEST_FACTOR}, None, types.UniTuple(types.boolean, 2)(*sizes)
    )
    updates = [update_kernel(equation, dtype, dtype, each) for each in (False, plain)]
    names: dict[str, Any] = {
        "norms": norms_kernel(dtype),
        "collect": collect_kernel(),
        "judge": judge,
        "update": updates[0],
        "plain": updates[1],
        "zeros": np.zeros,
        "int64": np.int64,
    }
    signature = types.boolean(
        types.int64[:, ::1], words, matrix, matrix, matrix, number[::1], vector, types.float64, matrix, matrix,
        number[:, ::1], vector, types.int64[:, ::1], vector, types.float64[:, :, ::1],
    )  # fmt: skip
    return compile_kernel("replicas_step", _STEP, names, None, signature)


def _nothing_shared() -> tuple[()]:
    """In the place of a rule's sums: replicas share no coefficient, so each tensor has all of them for itself."""
    return ()
