"""The memory of a step: all that kernels rely on when they read and write tensors by their addresses.

A tensor can change and stay the same object: `.data` can be replaced, a storage resized. So all of it is compared in
every step.
"""

import sys
from collections.abc import Sequence
from operator import attrgetter
from typing import Protocol

import numpy as np
import torch

# map() over torch's own functions: a Python loop would take much of the step time if there are many tensors.
_LAYOUT, _DTYPE, _SHAPE = attrgetter("layout"), attrgetter("dtype"), attrgetter("shape")
_ADDRESS, _STRIDE, _IS_CONTIGUOUS = torch.Tensor.data_ptr, torch.Tensor.stride, torch.Tensor.is_contiguous
_DEVICE = torch.Tensor.get_device
_IS_NEGATED = torch.Tensor.is_neg
_STORAGE, _BYTES = torch.Tensor.untyped_storage, torch.UntypedStorage.nbytes


class Fingerprint:
    """The layouts, devices, dtypes, shapes, strides and storage sizes of some tensors, and which are negated views."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._layouts, self._devices = list(map(_LAYOUT, tensors)), list(map(_DEVICE, tensors))
        self._dtypes, self._shapes = list(map(_DTYPE, tensors)), list(map(_SHAPE, tensors))
        self._strides, self._bytes = list(map(_STRIDE, tensors)), _storage_sizes(tensors)
        self._negated = list(map(_IS_NEGATED, tensors))
        self._contiguous = all(map(_IS_CONTIGUOUS, tensors))

    def matches(self, tensors: Sequence[torch.Tensor]) -> bool:
        """Return whether these tensors are like those that the fingerprint was taken of."""
        return (
            list(map(_LAYOUT, tensors)) == self._layouts  # compared first: others have no strides
            and list(map(_DEVICE, tensors)) == self._devices
            and list(map(_DTYPE, tensors)) == self._dtypes
            and list(map(_SHAPE, tensors)) == self._shapes
            and list(map(_IS_NEGATED, tensors)) == self._negated
            and (
                all(map(_IS_CONTIGUOUS, tensors)) if self._contiguous else list(map(_STRIDE, tensors)) == self._strides
            )
            and _storage_sizes(tensors) == self._bytes
        )


class StepMemory(Protocol):
    """The memory of tensors that a step writes, at their addresses, and of those that it reads, at any address."""

    addresses: np.ndarray
    """(tensors,) the addresses of those that were read last, int64."""

    moved: bool
    """Whether these addresses differ from those before."""

    def holds(self, read: Sequence[torch.Tensor]) -> bool:
        """Return whether nothing has changed, given the tensors that the next step reads, and note their addresses."""
        ...


class ComparedMemory:
    """The memory of a step, compared by torch's own functions: for each tensor, this takes half a microsecond."""

    def __init__(self, written: Sequence[torch.Tensor], read: Sequence[torch.Tensor]) -> None:
        self._written, self._places = written, addresses_of(written)
        self._of_written, self._of_read = Fingerprint(written), Fingerprint(read)
        self._known = addresses_of(read)
        self.addresses, self.moved = np.array(self._known, np.int64), False

    def holds(self, read: Sequence[torch.Tensor]) -> bool:
        """Return whether nothing has changed; see `StepMemory.holds`."""
        if not (self._of_written.matches(self._written) and self._of_read.matches(read)):
            return False
        if addresses_of(self._written) != self._places:
            return False
        known, self._known = self._known, addresses_of(read)
        self.moved = known != self._known
        if self.moved:
            self.addresses = np.array(self._known, np.int64)
        return True


def step_memory(written: Sequence[torch.Tensor], read: Sequence[torch.Tensor]) -> StepMemory:
    """Return the memory of a step, compared by a compiled function where kernels are compiled for the CPU anyway."""
    if "numba" in sys.modules:
        from steadystep.memory.native import native_memory

        return native_memory(written, read) or ComparedMemory(written, read)
    return ComparedMemory(written, read)


def addresses_of(tensors: Sequence[torch.Tensor]) -> list[int]:
    """Return the address of the first element of each tensor."""
    return list(map(_ADDRESS, tensors))


def _storage_sizes(tensors: Sequence[torch.Tensor]) -> list[int]:
    return list(map(_BYTES, map(_STORAGE, tensors)))
