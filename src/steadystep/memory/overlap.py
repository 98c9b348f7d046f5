"""Memory that several tensors share. A kernel works on all tensors at once, where the order of updates would matter."""

from collections.abc import Sequence

import numpy as np
import torch

from steadystep.memory.access import owns_memory


class Spans:
    """The spans of memory that a step writes, to find what else lies in them."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        spans = sorted(_span(tensor) for tensor in tensors if owns_memory(tensor))
        self._starts = np.array([start for start, _ in spans], np.int64)
        self._ends = np.maximum.accumulate(np.array([end for _, end in spans], np.int64))

    def touch(self, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Return, for each block of `sizes` bytes from `starts` on, whether any of it lies in a span."""
        if not len(self._starts):
            return np.zeros(len(starts), bool)
        before = np.searchsorted(self._starts, starts + sizes)  # the number of spans that start before the block ends
        return (before > 0) & (self._ends[before - 1] > starts)


def span_sizes(tensors: Sequence[torch.Tensor]) -> np.ndarray:
    """Return the number of bytes from the first to the last element of each tensor."""
    return np.array([end - start for start, end in map(_span, tensors)], np.int64)


def shared_memory(written: Sequence[Sequence[torch.Tensor]], read: Sequence[torch.Tensor]) -> set[int]:
    """Return the indices of the updates that touch memory which another tensor of the step occupies.

    Args:
        written: for each update, the tensors that it writes.
        read: for each update, the gradient that it reads. Gradients may overlap each other.
    """
    spans = sorted(
        (*_span(tensor), index)
        for index, tensors in enumerate(written)
        for tensor in tensors
        if owns_memory(tensor) and tensor.numel()
    )
    found: set[int] = set()
    reach, furthest = -1, -1  # where the span that reaches furthest so far ends, and whose it is
    for start, end, index in spans:
        if start < reach:
            found |= {index, furthest}
        if end > reach:
            reach, furthest = end, index
    own = [index for index, gradient in enumerate(read) if owns_memory(gradient)]
    blocks = [_span(read[index]) for index in own]
    sizes = np.array([end - start for start, end in blocks], np.int64)
    touching = Spans([tensor for tensors in written for tensor in tensors]).touch(
        np.array([start for start, _ in blocks], np.int64), sizes
    )
    for which in np.flatnonzero(touching).tolist():
        first, last = blocks[which]
        found |= {own[which], *(index for start, end, index in spans if start < last and end > first)}
    return found


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    """Return the addresses of the first byte of a tensor and of the first byte after it."""
    start = tensor.data_ptr()
    if tensor.numel() == 0:
        return start, start
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return start, start + (last + 1) * tensor.element_size()
