"""The loss that a step is told: a step whose loss is not finite is refused, even if its gradients are sound."""

import math
from typing import Any

import torch
import torch.distributed as dist

from steadystep.step.guarded_step import Policy
from steadystep.tracing.ops import Number


def is_bad(loss: Any, policy: Policy, device: torch.device) -> Number:
    """Return whether a step has to be refused for its loss, which is not finite, on any rank if there are several.

    A loss of minus infinity can have finite gradients. It is the loss of one rank's batch, and all ranks have to judge
    the step alike, so they tell each other.

    Args:
        loss: a number or a tensor, or None if the step was not told any.
        policy: under ``nonfinite="propagate"`` no step is refused.
        device: the device that decides about the step. If it is an accelerator, the loss is not read back.

    Returns:
        A bool, or on an accelerator a tensor that is 0 for a finite loss and 1 for any other.

    Raises:
        TypeError: for anything else.
    """
    if loss is None or policy.nonfinite == "propagate":
        return False
    if not isinstance(loss, torch.Tensor | int | float) or isinstance(loss, bool):
        raise TypeError(f"loss is {loss!r}: give the loss of this step, a number or a tensor")
    if isinstance(loss, torch.Tensor):
        bad: Number = torch.isfinite(loss.detach()).all().logical_not()
    else:
        bad = torch.tensor(not math.isfinite(loss), device="cpu")
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        found = bad.to(device, torch.float32)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        bad = found != 0
    return bool(bad) if device.type == "cpu" else bad.to(device, torch.float64)
