"""Tell autograd that tensors were written to through their addresses."""

from collections.abc import Iterable

import torch
from torch.autograd.graph import increment_version


def _takes_several() -> bool:
    try:
        increment_version([])
    except (TypeError, RuntimeError):  # older versions of torch take a single tensor
        return False
    return True


def _one_by_one(tensors: Iterable[torch.Tensor]) -> None:
    for tensor in tensors:
        increment_version(tensor)


count_writes = increment_version if _takes_several() else _one_by_one
"""Raise the version counters of some tensors, so that a backward pass that needs their old values is refused."""
