"""The norms of units, which are the slices of a tensor along its first dimension."""

from collections import deque
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from steadystep.clipping.norms import UnitNorms
from steadystep.gradients.distributed import is_sharded, sharded_within
from steadystep.kernels.precision import is_compiled_dtype
from steadystep.memory.access import plain, why_untouchable
from steadystep.memory.fingerprint import Fingerprint, addresses_of
from steadystep.memory.layout import is_dense

_KEPT = 4
"""How many passes over units are kept: those over gradients and parameters, and two more for a chain of clippers."""

Shape = tuple[int, int]
"""The number of units of a tensor, and the number of elements of each."""


@dataclass(frozen=True)
class UnitLayout:
    """The memory layout of units whose elements are contiguous."""

    owners: np.ndarray  # (units,) the index of the tensor
    offsets: np.ndarray  # (units,) the number of elements before the unit in its tensor
    lengths: tuple[int, ...]  # (units,) the number of elements


def shape_of(tensor: torch.Tensor, whole: torch.Tensor) -> Shape:
    """Return the number and size of this rank's units of `whole`. A tensor of at most one dimension is one unit."""
    units = tensor.shape[0] if whole.dim() > 1 else 1
    return units, tensor.numel() // max(units, 1)


def are_contiguous(tensor: torch.Tensor, units: Shape) -> bool:
    """Return whether the elements of every unit are contiguous and the units are adjacent."""
    return is_dense(tensor) and (units[0] == 1 or tensor.stride(0) == units[1])


@lru_cache(maxsize=64)
def unit_layout(shapes: tuple[Shape, ...]) -> UnitLayout:
    """Return the memory layout of the units of tensors with these shapes."""
    counts = [count for count, _ in shapes]
    owners = np.repeat(np.arange(len(shapes)), counts)
    offsets = np.concatenate([np.arange(count) * length for count, length in shapes])
    lengths = np.repeat([length for _, length in shapes], counts)
    return UnitLayout(owners, offsets, tuple(lengths.tolist()))


def measure_units(
    tensors: Sequence[torch.Tensor],
    wholes: Sequence[torch.Tensor],
    prepared: MutableMapping[Any, Any],
    backend: str | None,
) -> UnitNorms:
    """Measure all units of `tensors`, each of which is this rank's shard of the corresponding entry of `wholes`.

    The result is NumPy arrays where all tensors are on a CPU, else tensors on the first other device. `prepared` stores
    what the compiled backend reuses in the next step.
    """
    if backend in (None, "numba"):
        passes: deque[_UnitPass] = prepared.setdefault("units", deque(maxlen=_KEPT))
        fitting = next((one for one in passes if one.fits(tensors, wholes)), None)
        if fitting is None and all(map(_is_compiled, tensors, wholes)):
            fitting = _UnitPass(tensors, wholes)
            passes.append(fitting)
        if fitting is not None:
            return fitting.run(tensors)
    pairs = [_eager_norms(tensor, whole) for tensor, whole in zip(tensors, wholes, strict=True)]
    home = next((norms.device for norms, _ in pairs if norms.device.type != "cpu"), torch.device("cpu"))
    norms, abs_max = (torch.cat([pair[number].to(home, torch.float64) for pair in pairs]) for number in (0, 1))
    counts = tuple([shape_of(tensor, whole)[0] for tensor, whole in zip(tensors, wholes, strict=True)])
    return (
        UnitNorms(norms.numpy(), abs_max.numpy(), counts) if home.type == "cpu" else UnitNorms(norms, abs_max, counts)
    )


def _is_compiled(tensor: torch.Tensor, whole: torch.Tensor) -> bool:
    readable = tensor.device.type == "cpu" and is_compiled_dtype("numba", tensor.dtype) and not why_untouchable(tensor)
    return readable and not is_sharded(whole)


class _UnitPass:
    """The compiled passes over the units of tensors, and what these tensors have to be like."""

    def __init__(self, tensors: Sequence[torch.Tensor], wholes: Sequence[torch.Tensor]) -> None:
        from steadystep.kernels.cpu.norm_kernel import NormPass

        self._alike, self._fingerprint = _kinds_of(tensors, wholes), Fingerprint(tensors)
        shapes = tuple(map(shape_of, tensors, wholes))
        self._in_place = all(map(are_contiguous, tensors, shapes))
        self._shapes, self._counts = shapes, tuple([count for count, _ in shapes])
        where = unit_layout(shapes)
        self._passes: list[tuple[np.ndarray, np.ndarray, np.ndarray, NormPass]] = []
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            same = [number for number, tensor in enumerate(tensors) if tensor.dtype == dtype]
            chosen = np.flatnonzero(np.isin(where.owners, same))
            lengths = tuple(np.array(where.lengths)[chosen].tolist())
            offsets = where.offsets[chosen] * dtype.itemsize
            self._passes.append((chosen, where.owners[chosen], offsets, NormPass(dtype, lengths)))

    def fits(self, tensors: Sequence[torch.Tensor], wholes: Sequence[torch.Tensor]) -> bool:
        """Return whether the tensors are like those that the passes were made for, at any addresses."""
        return (
            _kinds_of(tensors, wholes) == self._alike
            and self._fingerprint.matches(tensors)
            and not any(map(torch.Tensor.is_neg, tensors))
        )

    def run(self, tensors: Sequence[torch.Tensor]) -> UnitNorms:
        """Measure the units of the tensors."""
        if not self._in_place:
            pairs = zip(tensors, self._shapes, strict=True)
            tensors = [x if are_contiguous(x, shape) else x.contiguous() for x, shape in pairs]
        bases = np.array(addresses_of(tensors), np.int64)
        norms, abs_max = np.empty((2, sum(self._counts)))
        for chosen, owners, offsets, norm_pass in self._passes:
            norms[chosen], abs_max[chosen] = norm_pass.run(bases[owners] + offsets)
        return UnitNorms(norms, abs_max, self._counts)


def _kinds_of(tensors: Sequence[torch.Tensor], wholes: Sequence[torch.Tensor]) -> tuple[list[Any], ...]:
    """Return what tells whether units are alike and may be read, besides the fingerprint of the tensors."""
    return list(map(type, tensors)), list(map(type, wholes)), list(map(torch.Tensor.dim, wholes))


def _eager_norms(tensor: torch.Tensor, whole: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the norms and largest magnitudes of one tensor's units, each of shape (units,), in float64."""
    within = list(range(1 if whole.dim() > 1 else 0, tensor.dim()))
    wide = tensor.double()
    # Divided by its largest element, no unit has a square that overflows or underflows.
    shape = [1 if dim in within else size for dim, size in enumerate(wide.shape)]
    abs_max = wide.abs().amax(within, keepdim=True) if wide.numel() else wide.new_zeros(shape)
    groups = sharded_within(whole, within)
    for group in groups:
        dist.all_reduce(abs_max, dist.ReduceOp.MAX, group=group)
    scales = torch.where((abs_max > 0) & torch.isfinite(abs_max), abs_max, 1.0)
    norms = torch.linalg.vector_norm(wide / scales, dim=within, keepdim=True)
    for group in groups:
        squares = norms.square()
        dist.all_reduce(squares, group=group)
        norms = squares.sqrt()
    return plain((scales * norms).flatten()), plain(abs_max.flatten())
