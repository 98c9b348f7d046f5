"""Floating-point operations of a training step."""

from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from steadystep.lab.tasks.task import Task


def flops_per_step(task: Task, x: torch.Tensor, y: torch.Tensor) -> float:
    """Of one forward and backward pass on such a batch, counted by torch. No random state is touched.

    Products of matrices and convolutions are counted, as usual; norms, activations and pooling are not.
    """
    return _counted(task, x.shape, x.dtype, y.shape, y.dtype)


@cache
def _counted(task: Task, shape: torch.Size, dtype: torch.dtype, labels: torch.Size, kind: torch.dtype) -> float:
    with torch.random.fork_rng(devices=()):
        # On the meta device nothing is computed, and recurrent layers and attention are the products of matrices that
        # they are made of: a CPU has fused kernels for them, of which torch counts nothing.
        model = task.model().to("meta")
        x, y = torch.zeros(shape, dtype=dtype, device="meta"), torch.zeros(labels, dtype=kind, device="meta")
        with FlopCounterMode(display=False) as counter:
            task.recipe.loss(model(x), y).backward()
    return float(counter.get_total_flops())
