"""The peak kernel, which finds each tensor's largest magnitude in half the time that its norm would take."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numba import types

from steadystep.kernels.cpu import intrinsics
from steadystep.kernels.cpu.jit import compile_kernel
from steadystep.kernels.cpu.parallel import COUNTERS_AND_CHUNKS, TEAM, chunks, parallel_kernel

_CHUNK = """\
x = carray(at(pointers[tensor] + start * SIZE), length, STORED)
peak = BITS(0)
for i in range(length):
    peak = larger_magnitude(peak, load(x[i]))
peaks[chunk] = from_bits(peak)
"""


@cache
def peak_kernel(dtype: torch.dtype) -> Callable[..., None]:
    """Compile the kernel that finds each chunk's largest magnitude."""
    name = str(dtype).removeprefix("torch.")
    names = {
        "SIZE": dtype.itemsize,
        "STORED": intrinsics.STORED[name],
        "BITS": np.int64 if name == "float64" else np.int32,
        "load": intrinsics.LOADS[name],
    }
    signature = types.void(*COUNTERS_AND_CHUNKS, types.int64[::1], types.float64[::1])
    return compile_kernel(f"peaks_{name}", parallel_kernel("pointers, peaks", _CHUNK), names, None, signature)


class PeakPass:
    """The pass that finds the largest magnitudes of CPU tensors of one dtype with fixed sizes, at any addresses."""

    def __init__(self, dtype: torch.dtype, sizes: tuple[int, ...]) -> None:
        self._kernel, self._chunks = peak_kernel(dtype), chunks(sizes)
        self._peaks = np.empty(len(self._chunks.table))
        self._firsts = np.searchsorted(self._chunks.table[:, 0], np.arange(len(sizes)))  # each tensor's first chunk

    def run(self, addresses: np.ndarray) -> np.ndarray:
        """Return the largest magnitudes of dense tensors that are not empty, not finite if any element is not."""
        TEAM.run(self._kernel, self._chunks, addresses, self._peaks)
        return np.maximum.reduceat(self._peaks, self._firsts)
