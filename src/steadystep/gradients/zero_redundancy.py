"""torch's ZeroRedundancyOptimizer, which gives each rank an optimizer of its own for a part of the parameters."""

import sys
from typing import Any

import torch
import torch.distributed as dist

from steadystep.gradients.caller import calling_object

_MODULE = "torch.distributed.optim.zero_redundancy_optimizer"


def refuse_inside_zero(optimizer: str) -> None:
    """Raise an error if a ZeroRedundancyOptimizer on several ranks is making an optimizer that measures gradients.

    Args:
        optimizer: the name of the optimizer that is being made.

    Raises:
        RuntimeError: if that is so: the optimizer would take the norm over the parameters of its own rank.
    """
    zero = calling_object(_MODULE)
    if getattr(zero, "world_size", 1) > 1:
        raise RuntimeError(
            f"inside a ZeroRedundancyOptimizer, {optimizer} would clip and skip by the gradients of one rank's "
            "parameters: guard it from outside, steadystep.guard(ZeroRedundancyOptimizer(params, torch.optim.Adam, "
            "lr=...), clip=1.0), or shard the model with torch.distributed.fsdp.fully_shard"
        )


def check_guardable(optimizer: Any) -> None:
    """Raise an error for a ZeroRedundancyOptimizer whose steps cannot be guarded.

    Raises:
        TypeError: if it steps inside backward(), and not in its `step`; if the optimizer inside keeps a ledger, which
            would be mixed up with the guard's, as the two share the entries of their parameter groups.
    """
    if not _is_zero(optimizer):
        return
    if optimizer._overlap_with_ddp:
        raise TypeError(
            "a ZeroRedundancyOptimizer with overlap_with_ddp=True steps inside backward(), where no guard sees the "
            "gradients: make it without overlap_with_ddp"
        )
    if hasattr(optimizer.optim, "ledger"):
        raise TypeError(
            f"the {type(optimizer.optim).__name__} inside the ZeroRedundancyOptimizer keeps a ledger of its own: give "
            "the ZeroRedundancyOptimizer an optimizer of torch, and guard that"
        )


def found_on_any_rank(optimizer: Any, names: list[str]) -> list[str]:
    """Return what has been found in the state of an optimizer, on this rank or only on another one.

    The ranks of a ZeroRedundancyOptimizer hold the state of different parameters, and all have to judge it alike.
    """
    if not _is_zero(optimizer) or optimizer.world_size == 1:
        return names
    found = torch.tensor(float(bool(names)), device=optimizer.join_device)
    dist.all_reduce(found, dist.ReduceOp.MAX, group=optimizer.process_group)
    return names or (["the state on another rank"] if found.item() else [])


def _is_zero(optimizer: Any) -> bool:
    module = sys.modules.get(_MODULE)
    return module is not None and isinstance(optimizer, module.ZeroRedundancyOptimizer)
