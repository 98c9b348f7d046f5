"""How the elements of many tensors are cut into pieces of work."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

CHUNK = 1 << 15
"""Elements in a chunk: few enough to share evenly, enough that taking one costs nothing."""


@dataclass(frozen=True)
class Chunks:
    """The chunks of tensors of these sizes, in order."""

    table: np.ndarray  # (chunks, 3), int64: the tensor, where in it the chunk starts, and how long it is
    tensors: int
    elements: int


@lru_cache(maxsize=64)
def chunks(sizes: tuple[int, ...]) -> Chunks:
    """The chunks of tensors with so many elements."""
    rows = [
        (tensor, start, min(CHUNK, size - start))
        for tensor, size in enumerate(sizes)
        for start in range(0, size, CHUNK)
    ]
    return Chunks(np.array(rows, np.int64).reshape(-1, 3), len(sizes), sum(sizes))
