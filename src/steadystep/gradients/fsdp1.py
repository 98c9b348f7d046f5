"""The parameters of torch's FullyShardedDataParallel (FSDP1), over whose shards no norm can be taken.

They are plain tensors, which do not say where the other shards are: each rank would clip by a norm of its own, and one
rank could skip a step that the others take. The DTensors of FSDP2 (`fully_shard`) say it.
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist


def in_fsdp1(parameters: Iterable[torch.Tensor]) -> bool:
    """Return whether FullyShardedDataParallel shards any of these parameters, flattened or not, over several ranks."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return False
    return any(getattr(parameter, "_fsdp_flattened", False) for parameter in parameters)


def refuse_fsdp1(parameters: Iterable[torch.Tensor], measurer: str) -> None:
    """Raise an error if FullyShardedDataParallel shards any of these parameters.

    Args:
        parameters: all parameters, also those without a gradient: a rank can be without any, and all ranks must raise.
        measurer: the name of what would measure their gradients, for the message.

    Raises:
        RuntimeError: if there is one.
    """
    if in_fsdp1(parameters):
        raise RuntimeError(
            f"{measurer} got parameters of FullyShardedDataParallel (FSDP1), and of these each rank can only measure "
            "its own shard, not the gradient of all ranks: shard the model with torch.distributed.fsdp.fully_shard "
            "(FSDP2)"
        )
