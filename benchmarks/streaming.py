"""Streaming kernels for the memory-bandwidth limit: they move the bytes of a step and compute next to nothing.

They are compiled like the real kernels, and use the same chunks, threads and prefetches. `read` reads every gradient
once, as a norm must. `update` reads gradient, parameter and `slots` state tensors and writes all of them except the
gradient back.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numba import types

from benchmarks.steps import Step
from steadystep.kernels.codegen import indented
from steadystep.kernels.cpu.jit import compile_kernel
from steadystep.kernels.cpu.parallel import COUNTERS_AND_CHUNKS, TEAM, chunks, parallel_kernel
from steadystep.kernels.cpu.update_kernel import AHEAD, BLOCK

_READ = """\
total = float32(0)
for block in range(length // 1024):
    address = pointers[tensor] + (start + block * 1024) * 4
    for line in range(64):
        prefetch(address + 8192 + 64 * line)
    x = carray(at(address), 1024, float32)
    for i in range(1024):
        total += x[i]
sums[chunk] = total
"""
_UPDATE = """\
for block in range(length // BLOCK):
    first = (start + block * BLOCK) * 4
    G = carray(at(pointers[tensor, 0] + first), BLOCK, float32)
    {arrays}
    for column in range({columns}):
        for line in range(BLOCK // 16):
            prefetch(pointers[tensor, column] + first + AHEAD * BLOCK * 4 + 64 * line)
    for i in range(BLOCK):
        g = G[i]
        {moves}
"""


def read(params: Sequence[torch.Tensor]) -> Step:
    """Return a step that reads every gradient once."""
    work = chunks(tuple(param.numel() for param in params))
    signature = types.void(*COUNTERS_AND_CHUNKS, types.int64[::1], types.float32[::1])
    kernel = compile_kernel(
        "stream_read",
        parallel_kernel("pointers, sums", _READ),
        {"float32": np.float32},
        None,
        signature,
        fastmath={"reassoc"},
    )
    gradients = [param.grad for param in params if param.grad is not None]
    addresses = np.array([gradient.data_ptr() for gradient in gradients], np.int64)
    sums = np.zeros(len(work.table), np.float32)
    return lambda: TEAM.run(kernel, work, addresses, sums)


def update(params: Sequence[torch.Tensor], slots: int) -> Step:
    """Return a step that reads the gradients, parameters and states, and writes the parameters and states."""
    work = chunks(tuple(param.numel() for param in params))
    kernel = _update_kernel(slots + 1)
    rows = [[param.grad, param.detach(), *(torch.zeros_like(param) for _ in range(slots))] for param in params]
    addresses = np.array([[tensor.data_ptr() for tensor in row if tensor is not None] for row in rows], np.int64)

    def step(keep_alive: object = rows) -> None:
        TEAM.run(kernel, work, addresses)

    return step


def _update_kernel(outputs: int) -> Callable[..., None]:
    arrays = [f"A{k} = carray(at(pointers[tensor, {k + 1}] + first), BLOCK, float32)" for k in range(outputs)]
    moves = [f"A{k}[i] = A{k}[i] + g" for k in range(outputs)]
    each = _UPDATE.format(arrays=indented(4, arrays), columns=outputs + 1, moves=indented(8, moves))
    source = parallel_kernel("pointers", each)
    names = {"float32": np.float32, "BLOCK": BLOCK, "AHEAD": AHEAD}
    signature = types.void(*COUNTERS_AND_CHUNKS, types.int64[:, ::1])
    return compile_kernel(f"stream_{outputs}", source, names, None, signature)
