"""Floating-point operations of a training step."""

from collections.abc import Callable
from functools import cache

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode


@cache
def flops_per_step(make_model: Callable[[], torch.nn.Module], shape: torch.Size, dtype: torch.dtype) -> float:
    """Of one forward and backward pass on a batch of this shape, counted by torch. No random state is touched.

    >>> from functools import partial
    >>> flops_per_step(partial(torch.nn.Linear, 3, 5, bias=False), torch.Size([2, 3]), torch.float32)  # 2 x 2x3x5
    120.0
    """
    with torch.random.fork_rng(devices=()):
        model = make_model()
        x, y = torch.zeros(shape, dtype=dtype), torch.zeros(shape[0], dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            functional.cross_entropy(model(x), y).backward()
    return float(counter.get_total_flops())
