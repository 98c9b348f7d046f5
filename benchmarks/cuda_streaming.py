"""Streaming kernels for the bandwidth limit of a device: they move the bytes of a step and compute next to nothing.

They process the same chunks as the real kernels. `read` reads every gradient once, as a norm must. `update` reads
gradient, parameter and `slots` state tensors and writes all of them except the gradient back.
"""

from collections.abc import Sequence

import numpy as np
import torch
import triton
import triton.language as tl

from benchmarks.steps import Step
from steadystep.kernels.cuda.chunks import chunks
from steadystep.kernels.cuda.intrinsics import located
from steadystep.kernels.cuda.runtime import launch, upload

# The device code is Triton, which uses the syntax of Python; Python's types do not apply to it.
# pyright: basic, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportArgumentType=false


@triton.jit
def read_chunks(table, addresses, sums, CHUNK: tl.constexpr, BLOCK: tl.constexpr):
    chunk = tl.program_id(0)
    tensor = tl.load(table + 3 * chunk)
    source = located(tl.load(addresses + tensor), tl.float32, True) + tl.load(table + 3 * chunk + 1) * CHUNK
    length = tl.load(table + 3 * chunk + 2)
    total = tl.zeros([BLOCK], tl.float32)
    for first in range(0, length, BLOCK):
        at = first + tl.arange(0, BLOCK)
        total += tl.load(source + at, mask=at < length, other=0.0)
    tl.store(sums + chunk, tl.sum(total, axis=0))


@triton.jit
def update_chunks(table, addresses, WRITTEN: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr):
    chunk = tl.program_id(0)
    row = addresses + (1 + WRITTEN) * tl.load(table + 3 * chunk)
    start = tl.load(table + 3 * chunk + 1) * CHUNK
    length = tl.load(table + 3 * chunk + 2)
    for first in range(0, length, BLOCK):
        at = start + first + tl.arange(0, BLOCK)
        inside = at < start + length
        g = tl.load(located(tl.load(row), tl.float32, True) + at, mask=inside)
        for written in tl.static_range(WRITTEN):
            target = located(tl.load(row + 1 + written), tl.float32, True) + at
            tl.store(target, tl.load(target, mask=inside) + g, mask=inside)


def read(params: Sequence[torch.nn.Parameter]) -> Step:
    """Return a step that reads every gradient once."""
    device = params[0].device
    work = chunks(tuple(param.numel() for param in params), device)
    gradients = [param.grad for param in params if param.grad is not None]
    addresses = upload(np.array([gradient.data_ptr() for gradient in gradients], np.int64), device)
    sums = torch.empty(len(work), device=device)

    def step() -> None:
        launch(read_chunks, len(work), device, work.table, addresses, sums, CHUNK=work.chunk, BLOCK=work.block)

    return step


def update(params: Sequence[torch.nn.Parameter], slots: int) -> Step:
    """Return a step that reads the gradients, parameters and states, and writes the parameters and states."""
    device = params[0].device
    work = chunks(tuple(param.numel() for param in params), device)
    rows = [[param.grad, param.detach(), *(torch.zeros_like(param) for _ in range(slots))] for param in params]
    addresses = [[tensor.data_ptr() for tensor in row if tensor is not None] for row in rows]
    uploaded = upload(np.array(addresses, np.int64).ravel(), device)

    def step(keep_alive: object = rows) -> None:
        launch(
            update_chunks, len(work), device, work.table, uploaded,
            WRITTEN=slots + 1, CHUNK=work.chunk, BLOCK=work.block,
        )  # fmt: skip

    return step
