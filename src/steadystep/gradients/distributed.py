"""Sums and maxima over the shards of a tensor, so that all ranks reach the same verdict.

DistributedDataParallel leaves the same reduced gradient on every rank, and needs nothing from this file. The parameters
of FSDP2 (`fully_shard`) and of tensor parallelism are DTensors: each rank holds a shard, a step runs on the shards, and
the norm of a tensor is taken over all its shards.
"""

import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
import torch.distributed as dist

from steadystep.tracing.ops import Number

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_sharded(tensor: torch.Tensor) -> "TypeGuard[DTensor]":
    """Return whether a tensor is a DTensor, without importing its module, which is slow to import."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Return this rank's shard of a tensor, or the tensor itself."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def check(parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]) -> None:
    """Raise an error if no global norm can be computed over these tensors.

    Raises:
        RuntimeError: for parameters on several device meshes, for a gradient that is not reduced over its ranks yet,
            and for one that is not sharded like its parameter.
    """
    meshes = {parameter.device_mesh for parameter in parameters if is_sharded(parameter)}
    if len(meshes) > 1:
        raise RuntimeError(
            f"the parameters are on {len(meshes)} device meshes, over which no global norm can be taken: "
            "give each mesh its own optimizer, or shard all parameters over one mesh"
        )
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if not is_sharded(gradient):
            continue
        if any(placement.is_partial() for placement in gradient.placements):
            raise RuntimeError("a gradient is not reduced over its ranks yet (a Partial placement): redistribute it")
        if is_sharded(parameter) and gradient.placements != parameter.placements:
            raise RuntimeError(
                f"a gradient is placed as {gradient.placements} and its parameter as {parameter.placements}: "
                "redistribute the gradient"
            )


def over_shards(values: Number, tensors: Sequence[torch.Tensor]) -> Number:
    """Sum one value per tensor over the ranks that hold the shards of that tensor.

    `values` is a float64 vector, NumPy or torch, of this rank. There is one all-reduce per sharded mesh dimension.
    """
    mesh = next((tensor.device_mesh for tensor in tensors if is_sharded(tensor)), None)
    if mesh is None:
        return values
    on_host = not isinstance(values, torch.Tensor)
    vector = torch.from_numpy(values) if on_host else values
    for dimension in range(mesh.ndim):
        sharded = [is_sharded(tensor) and _is_shard(tensor, dimension) for tensor in tensors]
        if any(sharded):
            reduced = vector.clone()
            dist.all_reduce(reduced, group=mesh.get_group(dimension))
            vector = torch.where(_mask(tuple(sharded), vector.device), reduced, vector)
    return vector.numpy() if on_host else vector


def over_ranks(values: Number, tensors: Sequence[torch.Tensor]) -> Number:
    """Return the largest value of each tensor over all ranks of the mesh, whether it is sharded or replicated.

    Replicas can differ where they should not: a replicated gradient that is NaN on one rank counts as NaN on all.
    """
    mesh = next((tensor.device_mesh for tensor in tensors if is_sharded(tensor)), None)
    if mesh is None:
        return values
    on_host = not isinstance(values, torch.Tensor)
    vector = (torch.from_numpy(values) if on_host else values).clone()
    for dimension in range(mesh.ndim):
        dist.all_reduce(vector, dist.ReduceOp.MAX, group=mesh.get_group(dimension))
    return vector.numpy() if on_host else vector


@lru_cache(maxsize=64)
def _mask(which: tuple[bool, ...], device: torch.device) -> torch.Tensor:
    # Cached, because copying a list to an accelerator waits for it.
    return torch.tensor(which, device=device)


def sum_over_shards(total: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Sum the partial sums of one tensor's shards to the sum over the whole tensor."""
    return over_shards(total.reshape(1), [tensor])[0] if is_sharded(tensor) else total


def _is_shard(tensor: "DTensor", dimension: int) -> bool:
    return tensor.placements[dimension].is_shard()


def sharded_within(tensor: torch.Tensor, dimensions: Sequence[int]) -> list[Any]:
    """Return the process groups over which these dimensions of a tensor are sharded."""
    if not is_sharded(tensor):
        return []
    mesh = tensor.device_mesh
    return [
        mesh.get_group(number)
        for number, placement in enumerate(tensor.placements)
        if any(placement.is_shard(dim) for dim in dimensions)
    ]
