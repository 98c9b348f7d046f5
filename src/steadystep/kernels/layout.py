"""Which tensors are as the kernels expect them: of their types, without gaps, all that belong together in one order."""

from collections.abc import Sequence
from functools import cache

import torch

_COMPILED_TYPES = frozenset((torch.float32, torch.float64, torch.bfloat16, torch.float16))


@cache
def is_compiled_type(backend: str, dtype: torch.dtype) -> bool:
    """Whether a compiled backend has kernels for tensors of this type, on this processor."""
    if dtype == torch.float16 and backend == "numba":
        from steadystep.kernels.cpu.intrinsics import HAS_HALF

        return HAS_HALF
    return dtype in _COMPILED_TYPES


def is_dense(tensor: torch.Tensor) -> bool:
    """Whether the elements fill a stretch of memory, in whatever order of the dimensions."""
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True


def same_layout(parameter: torch.Tensor, others: Sequence[torch.Tensor]) -> bool:
    """Whether dense tensors have their elements in the same order as the parameter."""
    if parameter.is_contiguous():
        return all(other.is_contiguous() for other in others)
    return all(other.stride() == parameter.stride() for other in others)


def in_layout_of(parameter: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself, or a copy whose elements are in the same order as those of the dense parameter."""
    if same_layout(parameter, (tensor,)):
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
