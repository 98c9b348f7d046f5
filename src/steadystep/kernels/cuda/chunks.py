"""The chunks into which tensors are split, one for each program of a kernel."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from steadystep.kernels.cuda.runtime import retain_for_cuda_graphs, upload

CHUNK = 1 << 14
"""Elements in a chunk: enough chunks to fill the device, and long enough to pay for looking one up."""

BLOCK = 1 << 10
"""Elements that a program handles at a time; a divisor of CHUNK."""


@dataclass(frozen=True)
class Chunks:
    """The chunks of several tensors, in order."""

    table: torch.Tensor  # (chunks, 3), int64: the tensor's index, the chunk's index in it, its number of elements
    spans: torch.Tensor  # (tensors, 2), int64: the first chunk of a tensor, and its number of chunks
    chunk: int
    block: int

    @property
    def tensors(self) -> int:
        """The number of tensors."""
        return len(self.spans)

    def __len__(self) -> int:
        return len(self.table)


def chunks(sizes: tuple[int, ...], device: torch.device) -> Chunks:
    """Split tensors of the given sizes into chunks, with their tables on the device."""
    found = _chunks(sizes, device, CHUNK, BLOCK)
    retain_for_cuda_graphs(device, found.table, found.spans)
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
    uploaded = upload(np.concatenate([np.array(rows, np.int64).ravel(), spans.ravel()]), device)
    table, spans = uploaded.split([3 * len(rows), 2 * len(sizes)])
    return Chunks(table.view(-1, 3), spans.view(-1, 2), chunk, block)
