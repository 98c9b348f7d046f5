"""The units of tensors, one for each index of the first dimension, and how large they are."""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from steadystep.gradients.distributed import is_sharded, sharded_within
from steadystep.kernels.layout import is_compiled_type, is_dense
from steadystep.tracing.ops import Number

Shape = tuple[int, int]
"""Of a tensor: how many units it has, and how many elements each of them."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of all units of several tensors, tensor after tensor, in float64."""

    norms: Number  # (units,) Euclidean norms
    peaks: Number  # (units,) largest absolute elements; NaN or inf if one is


@dataclass(frozen=True)
class Stretches:
    """Where the units of tensors lie, where each unit fills a stretch of memory."""

    owners: np.ndarray  # (units,) the number of the tensor
    offsets: np.ndarray  # (units,) elements before it in its tensor
    lengths: tuple[int, ...]  # elements


def shape_of(tensor: torch.Tensor, whole: torch.Tensor) -> Shape:
    """The units of a tensor, this rank's part of one like `whole`: of one dimension or none it is one unit."""
    units = tensor.shape[0] if whole.dim() > 1 else 1
    return units, tensor.numel() // max(units, 1)


def are_stretches(tensor: torch.Tensor, units: Shape) -> bool:
    """Whether every unit of a tensor fills a stretch of memory, one after the other."""
    return is_dense(tensor) and (units[0] == 1 or tensor.stride(0) == units[1])


@lru_cache(maxsize=64)
def stretches(shapes: tuple[Shape, ...]) -> Stretches:
    """Where the units of tensors of these shapes lie."""
    counts = [count for count, _ in shapes]
    owners = np.repeat(np.arange(len(shapes)), counts)
    offsets = np.concatenate([np.arange(count) * length for count, length in shapes])
    lengths = np.repeat([length for _, length in shapes], counts)
    return Stretches(owners, offsets, tuple(lengths.tolist()))


def sizes(
    tensors: Sequence[torch.Tensor],
    wholes: Sequence[torch.Tensor],
    prepared: MutableMapping[Any, Any],
    backend: str | None,
) -> Sizes:
    """The sizes of all units of `tensors`, each of which is this rank's part of the one of `wholes` beside it.

    NumPy arrays where all are on a CPU, else tensors on the first other device. `prepared` is what the compiled backend
    keeps from one step to the next.
    """
    if backend in (None, "numba") and all(map(_is_compiled, tensors, wholes)):
        return _compiled_sizes(tensors, wholes, prepared)
    pairs = [_eager_sizes(tensor, whole) for tensor, whole in zip(tensors, wholes, strict=True)]
    home = next((norms.device for norms, _ in pairs if norms.device.type != "cpu"), torch.device("cpu"))
    found = [torch.cat([pair[number].to(home, torch.float64) for pair in pairs]) for number in (0, 1)]
    return Sizes(*(vector.numpy() if home.type == "cpu" else vector for vector in found))


def _is_compiled(tensor: torch.Tensor, whole: torch.Tensor) -> bool:
    return tensor.device.type == "cpu" and is_compiled_type("numba", tensor.dtype) and not is_sharded(whole)


def _compiled_sizes(
    tensors: Sequence[torch.Tensor], wholes: Sequence[torch.Tensor], prepared: MutableMapping[Any, Any]
) -> Sizes:
    from steadystep.kernels.cpu.norm_kernel import NormPass

    shapes = tuple(map(shape_of, tensors, wholes))
    held = [x if are_stretches(x, shape) else x.contiguous() for x, shape in zip(tensors, shapes, strict=True)]
    where = stretches(shapes)
    norms, peaks = np.empty((2, len(where.lengths)))
    for dtype in {tensor.dtype for tensor in held}:
        numbers = tuple([number for number, tensor in enumerate(held) if tensor.dtype == dtype])
        key = ("units", dtype, numbers, shapes)
        if key not in prepared:
            chosen = np.isin(where.owners, numbers)
            prepared[key] = chosen, NormPass(dtype, tuple(np.array(where.lengths)[chosen].tolist()))
        chosen, measuring = prepared[key]
        bases = np.array([tensor.data_ptr() for tensor in held], np.int64)
        addresses = (bases[where.owners] + where.offsets * dtype.itemsize)[chosen]
        norms[chosen], peaks[chosen] = measuring.run(addresses)
    return Sizes(norms, peaks)


def _eager_sizes(tensor: torch.Tensor, whole: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(units,) norms and largest magnitudes of one tensor's units, in float64."""
    within = list(range(1 if whole.dim() > 1 else 0, tensor.dim()))
    wide = tensor.double()
    # Divided by its largest element, no unit has a square that overflows or vanishes.
    shape = [1 if dim in within else size for dim, size in enumerate(wide.shape)]
    peaks = wide.abs().amax(within, keepdim=True) if wide.numel() else wide.new_zeros(shape)
    groups = sharded_within(whole, within)
    for group in groups:
        dist.all_reduce(peaks, dist.ReduceOp.MAX, group=group)
    scales = torch.where((peaks > 0) & torch.isfinite(peaks), peaks, 1.0)
    norms = torch.linalg.vector_norm(wide / scales, dim=within, keepdim=True)
    for group in groups:
        squares = norms.square()
        dist.all_reduce(squares, group=group)
        norms = squares.sqrt()
    return (scales * norms).flatten(), peaks.flatten()
