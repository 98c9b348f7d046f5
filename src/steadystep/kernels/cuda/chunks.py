"""How the elements of many tensors are cut into pieces, one for each program of a kernel."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from steadystep.kernels.cuda.runtime import keep_for_graphs, upload

CHUNK = 1 << 14
"""Elements of a program's piece: many pieces to fill the device with, each long enough to pay for finding it."""

BLOCK = 1 << 10
"""Elements that a program holds at a time; chunks are multiples of it."""


@dataclass(frozen=True)
class Chunks:
    """The chunks of tensors of these sizes, in order."""

    table: torch.Tensor  # (chunks, 3), int64: the tensor, which of its chunks this is, and how long
    spans: torch.Tensor  # (tensors, 2), int64: the first chunk of a tensor, and how many it has
    chunk: int
    block: int

    @property
    def tensors(self) -> int:
        return len(self.spans)

    def __len__(self) -> int:
        return len(self.table)


def chunks(sizes: tuple[int, ...], device: torch.device) -> Chunks:
    """The chunks of tensors with so many elements, on a device."""
    found = _chunks(sizes, device, CHUNK, BLOCK)
    keep_for_graphs(device, found.table, found.spans)
    return found


@lru_cache(maxsize=64)
def _chunks(sizes: tuple[int, ...], device: torch.device, chunk: int, block: int) -> Chunks:
    rows = [
        (tensor, number, min(chunk, size - number * chunk))
        for tensor, size in enumerate(sizes)
        for number in range(-(-size // chunk))
    ]
    counts = np.array([-(-size // chunk) for size in sizes], np.int64)
    spans = np.stack([np.cumsum(counts) - counts, counts], axis=1)
    words = upload(np.concatenate([np.array(rows, np.int64).ravel(), spans.ravel()]), device)
    table, spans = words.split([3 * len(rows), 2 * len(sizes)])
    return Chunks(table.view(-1, 3), spans.view(-1, 2), chunk, block)
