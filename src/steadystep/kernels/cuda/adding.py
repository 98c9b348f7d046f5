"""What the chunks of each tensor gave, added up in one order."""

import torch
import triton
import triton.language as tl

from steadystep.kernels.cuda.chunks import Chunks
from steadystep.kernels.cuda.launching import launch

# What runs on the device is Triton, which only looks like Python: types mean nothing in here.
# pyright: basic, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportArgumentType=false

TOGETHER = 128
"""Chunks of a tensor that are added up at a time."""


@triton.jit(do_not_specialize=["tensors"], do_not_specialize_on_alignment=["spans", "parts", "totals"])
def add_chunks(spans, parts, totals, tensors, TERMS: tl.constexpr, BLOCK: tl.constexpr):
    tensor = tl.program_id(0) // TERMS
    term = tl.program_id(0) % TERMS
    first = tl.load(spans + 2 * tensor)
    count = tl.load(spans + 2 * tensor + 1)
    total = tl.zeros([BLOCK], tl.float64)
    for start in range(0, count, BLOCK):
        chunk = start + tl.arange(0, BLOCK)
        total += tl.load(parts + TERMS * (first + chunk) + term, mask=chunk < count, other=0.0)
    tl.store(totals + term * tensors + tensor, tl.sum(total, axis=0))


def add_up(parts: torch.Tensor, work: Chunks) -> torch.Tensor:
    """(terms, tensors), the sums over each tensor's chunks of `parts` (chunks, terms): the same in every run."""
    terms = parts.shape[1]
    totals = torch.empty((terms, work.tensors), dtype=torch.float64, device=parts.device)
    launch(
        add_chunks, work.tensors * terms, parts.device, work.spans, parts, totals, work.tensors,
        TERMS=terms, BLOCK=TOGETHER,
    )  # fmt: skip
    return totals
