"""The measuring pass: each gradient's Euclidean norm and largest element, compiled."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from numba import types

from steadystep.kernels.cpu import primitives
from steadystep.kernels.cpu.chunks import chunks
from steadystep.kernels.cpu.compiling import compiled
from steadystep.kernels.cpu.team import TEAM

BLOCK = 1024
"""Elements of which first the largest and then the squares are taken: both loops then run in vectors of their own."""

AHEAD = 2
"""Blocks between the one that is measured and the one that is asked for from memory."""

# A chunk's sum is that of the squares of x / scale. Squares are summed in float64: those of narrower types neither
# overflow nor vanish there, so their scale is 1; float64 is scaled where its own would.
_KERNEL = """
def kernel(counters, table, pointers, sums, scales, peaks):
    wide_vectors()
    while True:
        chunk = take_ticket(counters)
        if chunk >= len(table):
            break
        tensor, start, length = table[chunk]
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
            value = float64(load(rest[i])){scaled}
            total += value * value
        sums[chunk] = total
        scales[chunk] = scale
        peaks[chunk] = from_bits(peak)
        take_ticket(counters + 8)
    while read_counter(counters + 8) < len(table):
        pass
"""
_FIND_SCALE = """
        whole = carray(at(address), length, STORED)
        for i in range(length):
            peak = larger_magnitude(peak, whole[i])
        largest = from_bits(peak)
        if (largest < 1e-100) | ((largest > 1e100) & (largest < inf)):
            scale = max(largest, 1e-300)
"""

# The chunks of a tensor, one after the other in their order: however many threads there were.
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
def _kernel(dtype: torch.dtype) -> Callable[..., None]:
    name = str(dtype).removeprefix("torch.")
    wide = name == "float64"
    source = _KERNEL.format(scale=_FIND_SCALE if wide else "", scaled=" / scale" if wide else "")
    names = {
        "BLOCK": BLOCK,
        "AHEAD": AHEAD,
        "SIZE": dtype.itemsize,
        "STORED": primitives.STORED[name],
        "BITS": np.int64 if wide else np.int32,
        "load": primitives.LOADS[name],
    }
    signature = types.void(
        types.int64, types.int64[:, ::1], types.int64[::1], types.float64[::1], types.float64[::1], types.float64[::1]
    )
    # Sums may be reordered into vectors: in the same way every time.
    options = {"fastmath": {"reassoc", "contract"}}
    return compiled(f"norms_{name}", source, names, None, signature, **options)


@cache
def _collector() -> Callable[..., None]:
    signature = types.void(types.int64[:, ::1], *[types.float64[::1]] * 5)
    return compiled("norms_of_tensors", _COLLECT, {}, None, signature)


def measure(gradients: Sequence[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Norms and largest magnitudes of dense CPU tensors of one dtype, in float64; NaN or inf if an element is."""
    work = chunks(tuple([gradient.numel() for gradient in gradients]))
    pointers = np.array([gradient.data_ptr() for gradient in gradients], np.int64)
    sums, scales, peaks = np.empty((3, len(work.table)))
    TEAM.run(_kernel(gradients[0].dtype), work.elements, work.table, pointers, sums, scales, peaks)
    norms, largest = np.zeros((2, len(gradients)))
    _collector()(work.table, sums, scales, peaks, norms, largest)
    return norms, largest
