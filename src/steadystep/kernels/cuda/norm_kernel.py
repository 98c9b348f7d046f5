"""The norm kernels, which compute each gradient's Euclidean norm and largest magnitude. Nothing is read back."""

from typing import NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from steadystep.kernels.cuda.chunks import Chunks, chunks
from steadystep.kernels.cuda.intrinsics import STORED, bits_of_magnitude, located, widen
from steadystep.kernels.cuda.runtime import launch, retain_for_cuda_graphs, upload
from steadystep.tracing.ops import Number

# Triton code only looks like Python: its types mean nothing to a type checker.
# pyright: basic, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportArgumentType=false


# The sum of a chunk is that of the squares of x / scale, in float64. Squares of narrower types neither overflow nor
# underflow there, so their scale is 1. Chunks of float64 are scaled where their squares would.
@triton.jit(do_not_specialize_on_alignment=["table", "addresses", "sums", "scales", "peaks"])
def measure_chunks(
    table, addresses, sums, scales, peaks,
    KIND: tl.constexpr, ALIGNED: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Find the sum of squares, the scale and the largest magnitude of one chunk."""
    WIDE: tl.constexpr = KIND == tl.float64  # noqa: SIM300
    chunk = tl.program_id(0)
    tensor = tl.load(table + 3 * chunk)
    source = located(tl.load(addresses + tensor), KIND, ALIGNED) + tl.load(table + 3 * chunk + 1) * CHUNK
    length = tl.load(table + 3 * chunk + 2)
    whole = length // BLOCK * BLOCK
    lanes = tl.arange(0, BLOCK)
    largest = tl.zeros([BLOCK], tl.int64 if WIDE else tl.int32)
    total = tl.zeros([BLOCK], tl.float64)
    scale = 1.0
    if WIDE:
        for first in range(0, length, BLOCK):
            x = tl.load(source + first + lanes, mask=first + lanes < length, other=0.0)
            largest = tl.maximum(largest, bits_of_magnitude(x))
        peak = tl.max(largest, axis=0).to(tl.float64, bitcast=True)
        extreme = (peak < 1e-100) | ((peak > 1e100) & (peak < float("inf")))
        scale = tl.where(extreme, tl.where(peak > 1e-300, peak, 1e-300), 1.0)
    for first in range(0, whole, BLOCK):
        x = widen(tl.load(source + first + lanes))
        largest = tl.maximum(largest, bits_of_magnitude(x))
        x = x.to(tl.float64) / scale
        total += x * x
    if whole < length:
        x = widen(tl.load(source + whole + lanes, mask=whole + lanes < length, other=0))
        largest = tl.maximum(largest, bits_of_magnitude(x))
        x = x.to(tl.float64) / scale
        total += x * x
    tl.store(sums + chunk, tl.sum(total, axis=0))
    tl.store(scales + chunk, scale)
    tl.store(peaks + chunk, tl.max(largest, axis=0).to(tl.float64 if WIDE else tl.float32, bitcast=True).to(tl.float64))


@triton.jit(do_not_specialize_on_alignment=["spans", "sums", "scales", "peaks", "norms", "largest"])
def collect_chunks(spans, sums, scales, peaks, norms, largest, BLOCK: tl.constexpr):
    """Combine the results of one tensor's chunks in a fixed order, however the chunks were scheduled."""
    tensor = tl.program_id(0)
    first = tl.load(spans + 2 * tensor)
    count = tl.load(spans + 2 * tensor + 1)
    lanes = tl.arange(0, BLOCK)
    peak = tl.zeros([BLOCK], tl.int64)
    scale = tl.zeros([BLOCK], tl.float64)
    for start in range(0, count, BLOCK):
        inside = start + lanes < count
        peak = tl.maximum(peak, bits_of_magnitude(tl.load(peaks + first + start + lanes, mask=inside, other=0.0)))
        scale = tl.maximum(scale, tl.load(scales + first + start + lanes, mask=inside, other=0.0))
    common = tl.max(scale, axis=0)
    total = tl.zeros([BLOCK], tl.float64)
    for start in range(0, count, BLOCK):
        inside = start + lanes < count
        ratio = tl.load(scales + first + start + lanes, mask=inside, other=0.0) / common
        total += tl.load(sums + first + start + lanes, mask=inside, other=0.0) * (ratio * ratio)
    tl.store(norms + tensor, common * tl.sqrt(tl.sum(total, axis=0)))
    tl.store(largest + tensor, tl.max(peak, axis=0).to(tl.float64, bitcast=True))


TOGETHER = 128
"""Chunks of a tensor that are combined at a time."""


class Measured(NamedTuple):
    """The memory on the device in which the norm kernels store their results."""

    parts: torch.Tensor  # (3, chunks): sum of squares, scale and largest magnitude of each chunk
    norms: torch.Tensor  # (tensors,)
    abs_max: torch.Tensor  # (tensors,)


class NormPass:
    """The pass that measures tensors of one dtype with fixed sizes, on one device, at any addresses."""

    def __init__(self, dtype: torch.dtype, sizes: tuple[int, ...], device: torch.device) -> None:
        self._stored = STORED[str(dtype).removeprefix("torch.")]
        self._work, self._device = chunks(sizes, device), device

    def run(self, addresses: np.ndarray) -> tuple[Number, Number]:
        """Return the norms and largest magnitudes of dense tensors, in float64; not finite if any element is not.

        On a GPU they are left on the device.
        """
        found = self.allocate()
        self.run_into(found, upload(addresses, self._device), not (addresses % 16).any())
        norms, abs_max = found.norms, found.abs_max
        return (norms.numpy(), abs_max.numpy()) if self._device.type == "cpu" else (norms, abs_max)

    def allocate(self) -> Measured:
        """Allocate memory for the results."""
        work = self._work
        parts = torch.empty((3, len(work)), dtype=torch.float64, device=self._device)
        return Measured(parts, *torch.empty((2, work.tensors), dtype=torch.float64, device=self._device))

    def run_into(self, found: Measured, addresses: torch.Tensor, aligned: bool) -> None:
        """Measure the tensors at addresses stored on the device; set `aligned` if all are multiples of 16 bytes."""
        device, work = self._device, self._work
        retain_for_cuda_graphs(device, work.table, work.spans, *found)
        sums, scales, peaks = found.parts
        launch(
            measure_chunks, len(work), device, work.table, addresses, sums, scales, peaks,
            KIND=self._stored, ALIGNED=aligned, CHUNK=work.chunk, BLOCK=work.block,
        )  # fmt: skip
        launch(
            collect_chunks, work.tensors, device, work.spans, sums, scales, peaks, found.norms, found.abs_max,
            BLOCK=TOGETHER,
        )  # fmt: skip


@triton.jit(do_not_specialize=["tensors"], do_not_specialize_on_alignment=["spans", "parts", "totals"])
def add_chunks(spans, parts, totals, tensors, TERMS: tl.constexpr, BLOCK: tl.constexpr):
    """Sum one term over the chunks of one tensor, in a fixed order."""
    tensor = tl.program_id(0) // TERMS
    term = tl.program_id(0) % TERMS
    first = tl.load(spans + 2 * tensor)
    count = tl.load(spans + 2 * tensor + 1)
    total = tl.zeros([BLOCK], tl.float64)
    for start in range(0, count, BLOCK):
        chunk = start + tl.arange(0, BLOCK)
        total += tl.load(parts + TERMS * (first + chunk) + term, mask=chunk < count, other=0.0)
    tl.store(totals + term * tensors + tensor, tl.sum(total, axis=0))


def sum_chunks(parts: torch.Tensor, work: Chunks) -> torch.Tensor:
    """Sum `parts` (chunks, terms) over the chunks of each tensor in a fixed order, and return (terms, tensors)."""
    terms = parts.shape[1]
    totals = torch.empty((terms, work.tensors), dtype=torch.float64, device=parts.device)
    launch(
        add_chunks, work.tensors * terms, parts.device, work.spans, parts, totals, work.tensors,
        TERMS=terms, BLOCK=TOGETHER,
    )  # fmt: skip
    return totals
