"""The layout of tensors: whether their elements are dense, and in which order."""

from collections.abc import Sequence

import torch


def extent(tensor: torch.Tensor) -> int:
    """Return the number of elements that fit between the first and the last element in memory, these included."""
    if tensor.is_contiguous():
        return tensor.numel()
    if tensor.numel() == 0:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def is_expanded(tensor: torch.Tensor) -> bool:
    """Return whether some elements of a tensor are one and the same in memory, as they are after `expand`."""
    return tensor.layout == torch.strided and any(
        stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )


def is_dense(tensor: torch.Tensor) -> bool:
    """Return whether the elements fill a block of memory without gaps, in any order of the dimensions."""
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
    """Return whether dense tensors store their elements in the same order as the parameter."""
    if parameter.is_contiguous():
        return all(other.is_contiguous() for other in others)
    return all(other.stride() == parameter.stride() for other in others)


def in_layout_of(parameter: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor, copied if its elements are not in the same order as those of the dense parameter."""
    if same_layout(parameter, (tensor,)):
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
