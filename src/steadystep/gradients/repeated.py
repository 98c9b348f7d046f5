"""Whether a tensor has been seen before, as the same object or as another one for the same elements."""

from typing import Any

import torch

from steadystep.gradients.distributed import local
from steadystep.memory.access import owns_memory


def is_repeated(tensor: torch.Tensor, seen: set[Any]) -> bool:
    """Return whether a tensor's elements are those of a tensor that is in `seen`, and add it."""
    shard = local(tensor)
    key: Any = id(tensor)
    if owns_memory(shard) and shard.numel():
        key = (shard.data_ptr(), shard.device, shard.dtype, shard.shape, shard.stride())
    known = key in seen
    seen.add(key)
    return known
