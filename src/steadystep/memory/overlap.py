"""Memory that several tensors share. A kernel works on all tensors at once, where the order of updates would matter."""

from collections.abc import Sequence

import numpy as np
import torch

from steadystep.memory.access import owns_memory
from steadystep.memory.layout import extent


class Overlap:
    """Which updates of a step touch memory that another tensor of the step occupies.

    Args:
        written: for each update, the tensors that it writes.
        read: for each update, the gradient that it reads. Gradients may overlap each other.
    """

    shared: set[int]
    """The indices of the updates that do."""

    def __init__(self, written: Sequence[Sequence[torch.Tensor]], read: Sequence[torch.Tensor]) -> None:
        starts, self._ends, owners = _sorted_spans(written)
        self._starts = starts
        self._reach = np.maximum.accumulate(self._ends)  # where the span ends that reaches furthest so far
        self._read_sizes = np.array([_size(tensor) for tensor in read], np.int64)
        furthest = np.maximum.accumulate(np.where(self._ends == self._reach, np.arange(len(starts)), 0))
        later = 1 + np.flatnonzero(starts[1:] < self._reach[:-1])
        self.shared = {*owners[later].tolist(), *owners[furthest[later - 1]].tolist()}
        addresses = np.array([tensor.data_ptr() if owns_memory(tensor) else 0 for tensor in read], np.int64)
        for index in np.flatnonzero(self._touching(addresses)).tolist():
            first, last = addresses[index], addresses[index] + self._read_sizes[index]
            self.shared |= {index, *owners[(starts < last) & (self._ends > first)].tolist()}

    def gradients_touch(self, addresses: np.ndarray) -> bool:
        """Return whether any of the gradients, now at these addresses, touches memory that the step writes."""
        return bool(self._touching(addresses).any())

    def _touching(self, addresses: np.ndarray) -> np.ndarray:
        if not len(self._starts):
            return np.zeros(len(addresses), bool)
        before = np.searchsorted(self._starts, addresses + self._read_sizes)  # how many start before the gradient ends
        return (before > 0) & (self._reach[before - 1] > addresses) & (self._read_sizes > 0)


def _sorted_spans(written: Sequence[Sequence[torch.Tensor]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the addresses of the first byte of each tensor and of the byte after its last, and the update it is of."""
    spans = [
        (tensor.data_ptr(), size, index)
        for index, tensors in enumerate(written)
        for tensor in tensors
        if (size := _size(tensor))
    ]
    starts, sizes, owners = np.array(sorted(spans), np.int64).reshape(-1, 3).T
    return starts, starts + sizes, owners


def _size(tensor: torch.Tensor) -> int:
    """Return the number of bytes from the first to the last element of a tensor, 0 if it has no memory of its own."""
    return extent(tensor) * tensor.element_size() if owns_memory(tensor) else 0
