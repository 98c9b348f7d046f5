"""Which updates touch memory that another tensor of the step occupies."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from steadystep.memory.overlap import Overlap

PLACES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8)), min_size=1, max_size=8)


def views(places: list[tuple[int, int]]) -> list[torch.Tensor]:
    memory = torch.zeros(64)
    return [memory[start : start + size] for start, size in places]


def are_overlapping(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < sum(other) and other[0] < sum(one)


@given(written=PLACES, read=PLACES)
def test_sharing_is_found_like_by_comparing_all_pairs(
    written: list[tuple[int, int]], read: list[tuple[int, int]]
) -> None:
    count = min(len(written), len(read))
    written, read = written[:count], read[:count]
    tensors = views([*written, *read])
    expected: set[int] = set()
    for i in range(count):
        for j in range(count):
            if i != j and are_overlapping(written[i], written[j]):
                expected |= {i, j}
            if are_overlapping(read[i], written[j]):
                expected |= {i, j}
    assert Overlap([[tensor] for tensor in tensors[:count]], tensors[count:]).shared == expected


@given(written=PLACES, read=PLACES)
def test_a_gradient_that_moves_into_written_memory_is_found(
    written: list[tuple[int, int]], read: list[tuple[int, int]]
) -> None:
    tensors = views([*written, *read])
    blocks = tensors[len(written) :]
    elsewhere = [torch.zeros_like(block) for block in blocks]
    overlap = Overlap([[tensor] for tensor in tensors[: len(written)]], elsewhere)
    assert not overlap.gradients_touch(np.array([block.data_ptr() for block in elsewhere]))
    touch = overlap.gradients_touch(np.array([block.data_ptr() for block in blocks]))
    assert touch == any(are_overlapping(one, other) for one in read for other in written)
