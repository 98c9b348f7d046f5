"""Writes are counted with any version of torch."""

import torch

from steadystep.memory.versions import _one_by_one, count_writes


def test_writes_are_counted_at_once_or_one_by_one() -> None:
    for count in (count_writes, _one_by_one):
        tensors = [torch.ones(1), torch.ones(2)]
        before = [tensor._version for tensor in tensors]
        count(tensors)
        assert [tensor._version for tensor in tensors] == [version + 1 for version in before]
        count([])
