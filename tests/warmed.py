"""Clippers after a warm-up, and the step that an optimizer with such a clipper takes on the next gradient."""

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

import steadystep
from cases import ClipperCase

WARM_STEPS = 12
"""Enough steps to fill the window and to finish the warm-up of every clipper in the table."""


@lru_cache
def warm_gradients(tensors: int) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """Return a gradient of three elements for each warm-up step and tensor; norms vary by a factor of 4."""
    rng = random.Random(tensors)
    return tuple(
        tuple(tuple(rng.uniform(0.5, 2.0) * rng.choice((-1, 1)) for _ in range(3)) for _ in range(tensors))
        for _ in range(WARM_STEPS)
    )


@lru_cache(maxsize=128)
def _statistics(case: ClipperCase, tensors: int) -> dict[str, torch.Tensor]:
    params = [torch.zeros(3, dtype=torch.float64, requires_grad=True) for _ in range(tensors)]
    optimizer = steadystep.SGD(params, lr=0.0, clip=case.make())
    for gradients in warm_gradients(tensors):
        for param, gradient in zip(params, gradients, strict=True):
            param.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    assert optimizer.ledger["applied"] == WARM_STEPS, "no warm-up step is an outlier"
    return {name: value for name, value in optimizer.param_groups[0].items() if name.startswith("clip.")}


def step(
    case: ClipperCase,
    values: Sequence[Sequence[float]],
    dtype: torch.dtype = torch.float64,
    groups: Sequence[Sequence[int]] | None = None,
) -> tuple[list[torch.Tensor], dict[str, Any]]:
    """Return the clipped gradient of each tensor, and the ledger; the gradients are 0 if the step is skipped.

    This is the first step of SGD from 0 with learning rate 1. The clipper has the statistics of the warm-up gradients
    of the same number of tensors. `groups` assigns the tensors, by number, to parameter groups, in that order.
    """
    params = [torch.zeros(len(value), dtype=dtype, requires_grad=True) for value in values]
    order = [range(len(params))] if groups is None else groups
    optimizer = steadystep.SGD([{"params": [params[i] for i in group]} for group in order], lr=1.0, clip=case.make())
    positions = torch.tensor([i for group in order for i in group])
    for name, value in _statistics(case, len(values)).items():
        per_tensor = name.endswith("gammas")  # stored in the order of the optimizer's tensors
        optimizer.param_groups[0][name] = value[positions] if per_tensor else value.clone()
    for param, value in zip(params, values, strict=True):
        param.grad = torch.tensor(value, dtype=dtype)
    optimizer.step()
    return [0.0 - param.detach() for param in params], optimizer.ledger
