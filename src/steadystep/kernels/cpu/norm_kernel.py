"""The norm kernel, which computes each gradient's Euclidean norm and largest magnitude in one pass."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
from numba import types

from steadystep.kernels.cpu import intrinsics
from steadystep.kernels.cpu.jit import compile_kernel
from steadystep.kernels.cpu.parallel import COUNTERS_AND_CHUNKS, TEAM, chunks, parallel_kernel

BLOCK = 1024
"""Elements in a block. Largest magnitudes and squares are taken in two loops, each of which is vectorised."""

AHEAD = 2
"""How many blocks ahead of the measured one are prefetched."""

# The sum of a chunk is that of the squares of x / scale, in float64. Squares of narrower types neither overflow nor
# underflow there, so their scale is 1. Chunks of float64 are scaled where their squares would.
_CHUNK = """\
address = pointers[tensor] + start * SIZE
blocks = length // BLOCK
rest = carray(at(address + blocks * BLOCK * SIZE), length - blocks * BLOCK, STORED)
peak = BITS(0)
scale = 1.0
{scale}
total = 0.0
for block in range(blocks):
    x = carray(at(address + block * BLOCK * SIZE), BLOCK, STORED)
    ahead = address + (block + AHEAD) * BLOCK * SIZE
    for line in range(BLOCK * SIZE // 64):
        prefetch(ahead + 64 * line)
    for i in range(BLOCK):
        peak = larger_magnitude(peak, load(x[i]))
    for i in range(BLOCK):
        value = float64(load(x[i])){scaled}
        total += value * value
for i in range(len(rest)):
    peak = larger_magnitude(peak, load(rest[i]))
for i in range(len(rest)):
    value = float64(load(rest[i])){scaled}
    total += value * value
sums[chunk] = total
scales[chunk] = scale
peaks[chunk] = from_bits(peak)
"""
_FIND_SCALE = """\
whole = carray(at(address), length, STORED)
for i in range(length):
    peak = larger_magnitude(peak, whole[i])
largest = from_bits(peak)
if (largest < 1e-100) | ((largest > 1e100) & (largest < inf)):
    scale = max(largest, 1e-300)
"""

# Combines the chunks of each tensor in order, so that the number of threads does not matter.
_COLLECT = """
def kernel(table, sums, scales, peaks, norms, largest):
    chunk = 0
    while chunk < len(table):
        tensor = table[chunk, 0]
        end = chunk
        scale = 0.0
        peak = 0.0
        while end < len(table) and table[end, 0] == tensor:
            scale = max(scale, scales[end])
            peak = peaks[end] if (peaks[end] > peak) | (peaks[end] != peaks[end]) else peak
            end += 1
        total = 0.0
        while chunk < end:
            total += sums[chunk] * (scales[chunk] / scale) ** 2
            chunk += 1
        norms[tensor] = scale * sqrt(total)
        largest[tensor] = peak
"""


@cache
def chunk_norms_kernel(dtype: torch.dtype) -> Callable[..., None]:
    """Compile the kernel that finds each chunk's sum of squares, its scale and its largest magnitude."""
    name = str(dtype).removeprefix("torch.")
    wide = name == "float64"
    each = _CHUNK.format(scale=_FIND_SCALE if wide else "", scaled=" / scale" if wide else "")
    names = {
        "BLOCK": BLOCK,
        "AHEAD": AHEAD,
        "SIZE": dtype.itemsize,
        "STORED": intrinsics.STORED[name],
        "BITS": np.int64 if wide else np.int32,
        "load": intrinsics.LOADS[name],
    }
    signature = types.void(*COUNTERS_AND_CHUNKS, types.int64[::1], *[types.float64[::1]] * 3)
    source = parallel_kernel("pointers, sums, scales, peaks", each)
    # The sums may be reordered into vectors, in the same way every time.
    return compile_kernel(f"norms_{name}", source, names, None, signature, fastmath={"reassoc", "contract"})


@cache
def tensor_norms_kernel() -> Callable[..., None]:
    """Compile the kernel that combines the results of chunks into those of tensors."""
    signature = types.void(types.int64[:, ::1], *[types.float64[::1]] * 5)
    return compile_kernel("norms_of_tensors", _COLLECT, {}, None, signature)


class NormPass:
    """The pass that measures CPU tensors of one dtype with fixed sizes, at any addresses."""

    def __init__(self, dtype: torch.dtype, sizes: tuple[int, ...]) -> None:
        self._kernel = chunk_norms_kernel(dtype)
        self._chunks = chunks(sizes)
        self._sums, self._scales, self._peaks = np.empty((3, len(self._chunks.table)))
        # A tensor of a single chunk needs no combining, except that the sum of a float64 chunk may be scaled.
        self._one_chunk_each = dtype != torch.float64 and self._chunks.table[:, 0].tolist() == list(range(len(sizes)))

    def run(self, addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the norms and largest magnitudes of dense tensors, in float64; not finite if any element is not."""
        norms, abs_max = np.zeros((2, self._chunks.tensors))
        self._run_into(norms, abs_max, addresses)
        return norms, abs_max

    def into(self, norms: np.ndarray, abs_max: np.ndarray) -> Callable[[np.ndarray], None]:
        """Return a function that measures the tensors at given addresses into these arrays."""
        return partial(self._run_into, norms, abs_max)

    def _run_into(self, norms: np.ndarray, abs_max: np.ndarray, addresses: np.ndarray) -> None:
        work, sums, scales, peaks = self._chunks, self._sums, self._scales, self._peaks
        TEAM.run(self._kernel, work, addresses, sums, scales, peaks)
        if self._one_chunk_each:
            np.sqrt(sums, out=norms)
            abs_max[:] = peaks
        else:
            tensor_norms_kernel()(work.table, sums, scales, peaks, norms, abs_max)
