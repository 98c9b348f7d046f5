"""Count the floating-point operations of a training step."""

from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from steadystep.lab.tasks.task import Task


def flops_per_step(task: Task, x: torch.Tensor, y: torch.Tensor, batch_size: int | None = None) -> float:
    """Return torch's FLOP count of a forward and backward pass on a batch of this shape; random states are unchanged.

    If `batch_size` is given, `x` and `y` are some rows of a batch with so many.

    Matrix products and convolutions are counted, as usual; normalisation, activations and pooling are not.
    """
    shape, y_shape = (torch.Size((batch_size or len(tensor), *tensor.shape[1:])) for tensor in (x, y))
    return _count(task, shape, x.dtype, y_shape, y.dtype)


@cache
def _count(task: Task, shape: torch.Size, dtype: torch.dtype, y_shape: torch.Size, y_dtype: torch.dtype) -> float:
    with torch.random.fork_rng(devices=()):
        # The meta device computes nothing, and splits recurrent layers and attention into matrix products. On a CPU
        # they are fused kernels, which torch does not count.
        model = task.model().to("meta")
        x, y = torch.zeros(shape, dtype=dtype, device="meta"), torch.zeros(y_shape, dtype=y_dtype, device="meta")
        with FlopCounterMode(display=False) as counter:
            task.recipe.loss(model(x), y).backward()
    return float(counter.get_total_flops())
