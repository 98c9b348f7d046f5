"""The sample kernel: copies a sample of each parameter, or compares it with the copy, in one call."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numba import types

from steadystep.kernels.cpu.jit import compile_kernel

_SOURCE = """
def kernel(addresses, spans, copies, norms, compare):
    for tensor in range(len(addresses)):
        first, runs, stride, length = spans[tensor]
        total = 0.0
        for run in range(runs):
            here = carray(at(addresses[tensor] + run * stride * SIZE), length, STORED)
            copy = copies[first + run * length : first + (run + 1) * length]
            if compare:
                for i in range(length):
                    moved = float64(here[i]) - float64(copy[i])
                    total += moved * moved
            else:
                for i in range(length):
                    copy[i] = here[i]
        norms[tensor] = sqrt(total)
"""

KINDS = {torch.float32: types.float32, torch.float64: types.float64}
"""The types of parameters that the kernel reads."""


@cache
def sample_kernel(dtype: torch.dtype) -> Callable[..., None]:
    """Compile the kernel for parameters of a dtype.

    It takes the addresses of the tensors, for each of them the first element of its copy, and the number, distance and
    length of its runs; the copies of all of them; where the norms of the differences are written; and whether to
    compare or to copy.
    """
    kind = KINDS[dtype]
    name = str(dtype).removeprefix("torch.")
    names = {"SIZE": dtype.itemsize, "STORED": np.dtype(name).type}
    signature = types.void(types.int64[::1], types.int64[:, ::1], kind[::1], types.float64[::1], types.boolean)
    return compile_kernel(f"sample_{name}", _SOURCE, names, None, signature, fastmath={"reassoc", "contract"})
