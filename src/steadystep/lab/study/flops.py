"""Floating-point operations of a training step."""

from functools import cache

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
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
        model = task.model()
        x, y = torch.zeros(shape, dtype=dtype), torch.zeros(labels, dtype=kind)
        # torch counts no flops of fused recurrent layers and attention on a CPU: here they are products of matrices.
        unfused = torch.backends.mkldnn.flags(enabled=False)
        with unfused, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            task.recipe.loss(model(x).float(), y).backward()
    return float(counter.get_total_flops())
