"""The clipped optimizer step of all replicas in a workspace, with the library's rules, clippers and kernels."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import types

from steadystep.clipping.transforms import Clamp
from steadystep.kernels.codegen import Equation
from steadystep.kernels.cpu.jit import compile_kernel
from steadystep.kernels.cpu.norm_kernel import NormPass, chunk_norms_kernel, tensor_norms_kernel
from steadystep.kernels.cpu.parallel import chunks
from steadystep.kernels.cpu.update_kernel import TRANSFORM, UNTRANSFORMED, update_kernel
from steadystep.kernels.cpu.update_pass import SMALLEST_FACTOR
from steadystep.lab.replicas.memory_layout import Layout
from steadystep.lab.replicas.optimizer import Coefficients, ReplicatedOptimizer
from steadystep.lab.replicas.workspace import Workspace

NORM_BEFORE, NORM_AFTER, IS_FINITE = range(3)
"""Columns of a step's statistics: the gradient's norm before and after clipping, and 1 if the step can be taken."""

BOUND = TRANSFORM.index("bound")


class ClippedStep:
    """Clips the gradients of a workspace and applies the rule's update to its parameters and the replicas' slots.

    Attributes:
        statistics: of the last step, (replicas, 3).
    """

    def __init__(self, optimizer: ReplicatedOptimizer, workspace: Workspace, layout: Layout) -> None:
        replicas, dtype = len(workspace.memory), workspace.memory.dtype
        self._clip, self._workspace = optimizer.clip, workspace
        self.statistics = np.empty((replicas, 3))
        self._max_norms = np.full(replicas, np.inf)
        sizes = tuple(layout.counts * replicas)
        self._norm_pass = NormPass(dtype, sizes)
        self._work = chunks(sizes)
        self._tensor_norms, self._chunk_norms = np.zeros((2, len(sizes))), np.empty((3, len(self._work.table)))
        self._transform = np.tile(UNTRANSFORMED, (len(sizes), 1))
        rule = optimizer.rule
        self._gradients, parameters = (
            np.array([tensor[replica].data_ptr() for replica in range(replicas) for tensor in tensors], np.int64)
            for tensors in (workspace.gradients, workspace.parameters)
        )
        self._addresses = np.stack([self._gradients, parameters, *[parameters] * len(rule.slots)], axis=1)
        # Bytes from the beginning of a row to each parameter of every slot.
        parameter_offsets = (parameters[: len(layout.shapes)] - workspace.memory.data_ptr()).reshape(-1, 1)
        slot_starts = workspace.memory.itemsize * layout.stride * np.arange(1, 1 + layout.slots)
        self._slot_offsets = parameter_offsets + slot_starts
        self._losses, self._memory = workspace.losses.numpy(), workspace.memory.numpy()
        self._settings = optimizer.shared_settings
        # As in a guarded step: the square of a clipped gradient must be finite.
        self._max_magnitude = torch.finfo(dtype).max ** 0.5
        equation = Equation(rule.update, _no_sums, len(rule.slots))
        plain = optimizer.clip != "value" and not self._settings[1]
        self._kernel = _step_kernel(equation, dtype, plain)

    def load_replicas(self, rows: Sequence[int], memory: torch.Tensor, thresholds: np.ndarray) -> None:
        """Set which replicas are in the workspace.

        Args:
            rows: the rows of the replicas.
            memory: the memory of all replicas, which contains their slots.
            thresholds: the clipping thresholds of all replicas.
        """
        tensors = len(self._slot_offsets)
        for place, row in enumerate(rows):
            self._addresses[place * tensors : (place + 1) * tensors, 2:] = memory[row].data_ptr() + self._slot_offsets
        if self._clip == "value":
            self._transform[:, BOUND] = np.repeat(thresholds[rows], tensors)
        else:
            self._max_norms[:] = thresholds[rows]

    def step(self, coefficients: Coefficients, step: int) -> bool:
        """Update the parameters and slots of every replica with the coefficients of a step.

        Returns False and writes nothing if a replica cannot take the step: its loss or gradient is not finite.
        """
        clamped_norms = self._clamped_norms() if self._clip == "value" else self._tensor_norms
        return self._kernel(
            self._work.shares, self._work.table, self._gradients, self._tensor_norms, clamped_norms, self._chunk_norms,
            self._losses, self._max_norms, self._max_magnitude, self.statistics, self._transform, self._memory,
            coefficients.shrink[step], self._addresses, self._settings, coefficients.per_tensor[step],
        )  # fmt: skip

    def _clamped_norms(self) -> np.ndarray:
        """Return the norms and largest magnitudes of the gradients after clamping to the replicas' thresholds."""
        bounds = self._transform[:, BOUND].reshape(len(self.statistics), -1)
        clamped = [
            Clamp(float(bound))(gradient[replica], 0)
            for replica, row in enumerate(bounds)
            for gradient, bound in zip(self._workspace.gradients, row, strict=True)
        ]
        return np.stack(self._norm_pass.run(np.array([tensor.data_ptr() for tensor in clamped], np.int64)))


# `measured` and `clamped` hold the norm and the largest magnitude of each tensor, one replica after the other. The norm
# of a replica is computed from scaled norms, so that no square overflows or underflows.
_CLIP = """
def kernel(measured, clamped, max_norms, max_magnitude, statistics, transform):
    norms, peaks, clamped_norms, clamped_peaks = measured[0], measured[1], clamped[0], clamped[1]
    replicas = len(max_norms)
    tensors = len(norms) // replicas
    all_finite = True
    in_two = False
    for replica in range(replicas):
        first, end = replica * tensors, (replica + 1) * tensors
        for column in range(2):
            tensor_norms = norms if column == 0 else clamped_norms
            total = 0.0
            for tensor in range(first, end):
                norm = tensor_norms[tensor]
                total = norm if (norm > total) | (norm != norm) else total
            if (total > 0.0) & (total < inf):
                squares = 0.0
                for tensor in range(first, end):
                    squares += (tensor_norms[tensor] / total) ** 2
                total *= sqrt(squares)
            statistics[replica, column] = total
        factor = 1.0
        if (statistics[replica, 0] > max_norms[replica]) & (statistics[replica, 0] < inf):
            factor = max_norms[replica] / statistics[replica, 0]
        statistics[replica, 1] *= factor
        is_finite = True
        for tensor in range(first, end):
            is_finite &= (peaks[tensor] < inf) & (clamped_peaks[tensor] * factor <= max_magnitude)
        statistics[replica, 2] = float64(is_finite)
        all_finite &= is_finite
        second_factor = 1.0
        if factor < SMALLEST:
            factor = second_factor = sqrt(factor)
            in_two = True
        for tensor in range(first, end):
            transform[tensor, 0] = factor
            transform[tensor, 1] = second_factor
    return all_finite, in_two
"""

_STEP = """
def kernel(
    shares, chunks, gradients, tensor_norms, clamped_norms, chunk_norms, losses, max_norms, max_magnitude, statistics,
    transform, memory, shrink, addresses, settings, per_tensor,
):
    counters = zeros(2, int64)
    norms(counters, shares, chunks, gradients, chunk_norms[0], chunk_norms[1], chunk_norms[2])
    collect(chunks, chunk_norms[0], chunk_norms[1], chunk_norms[2], tensor_norms[0], tensor_norms[1])
    is_finite, in_two = clip(tensor_norms, clamped_norms, max_norms, max_magnitude, statistics, transform)
    for replica in range(len(losses)):
        is_finite &= (losses[replica] - losses[replica]) == 0
    if not is_finite:
        return False
    for replica in range(len(shrink)):
        memory[replica] *= memory.dtype.type(shrink[replica])
    counters[:] = 0
    coefficients = per_tensor.reshape(len(transform), per_tensor.shape[2])
    squares = zeros((len(chunks) + 1, 1), float64)
    if in_two:
        update(counters, shares, chunks, addresses, transform, settings, coefficients, squares)
    else:
        plain(counters, shares, chunks, addresses, transform, settings, coefficients, squares)
    return True
"""


@cache
def _step_kernel(equation: Equation, dtype: torch.dtype, plain: bool) -> Callable[..., bool]:
    """Compile a whole step into one call: measure, clip and update."""
    number = {torch.float32: types.float32, torch.float64: types.float64}[dtype]
    vector, matrix = types.float64[::1], types.float64[:, ::1]
    clip = compile_kernel(
        "clip_replicas",
        _CLIP,
        {"SMALLEST": SMALLEST_FACTOR},
        None,
        types.UniTuple(types.boolean, 2)(matrix, matrix, vector, types.float64, matrix, matrix),
    )
    names: dict[str, Any] = {
        "norms": chunk_norms_kernel(dtype),
        "collect": tensor_norms_kernel(),
        "clip": clip,
        "update": update_kernel(equation, dtype, dtype),
        "plain": update_kernel(equation, dtype, dtype, plain),
        "zeros": np.zeros,
        "int64": np.int64,
    }
    signature = types.boolean(
        types.int64[::1], types.int64[:, ::1], types.int64[::1], matrix, matrix, matrix, number[::1], vector,
        types.float64, matrix, matrix, number[:, ::1], vector, types.int64[:, ::1], vector, types.float64[:, :, ::1],
    )  # fmt: skip
    return compile_kernel("replicas_step", _STEP, names, None, signature)


def _no_sums() -> tuple[()]:
    """Return no sums in place of the rule's, so that every coefficient is passed per tensor: replicas share none."""
    return ()
