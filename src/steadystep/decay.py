"""Parameter groups with and without weight decay."""

import math
from numbers import Real
from typing import Any

import torch
from torch import nn

from steadystep.arguments import checked, described

_NORMALISATION = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
)


@checked
def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Make the two usual parameter groups: weights with weight decay, biases and normalisation parameters without.

    Parameters that need no gradient are left out; a shared one appears once. The groups carry the names of the
    parameters, so that errors and the ledger can give them.

    Args:
        model: the model whose parameters are grouped.
        weight_decay: of the first group, at least 0; the second has 0.

    Returns:
        Parameter groups for any torch optimizer.

    Raises:
        TypeError: for anything but a module.
        ValueError: if weight_decay is negative, infinite or no number.

    >>> import torch, steadystep
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))
    >>> for group in steadystep.decay_groups(model, 0.1):
    ...     print(group["weight_decay"], [name for name, _ in group["params"]])
    0.1 ['0.weight']
    0.0 ['0.bias', '1.weight', '1.bias']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"decay_groups takes a module, which knows what its parameters are for, and got {described(model)}: "
            "decay_groups(model, weight_decay)"
        )
    if not isinstance(weight_decay, Real) or isinstance(weight_decay, bool) or not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay is {weight_decay!r}: decay_groups accepts a number in [0, inf)")
    undecayed: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, _NORMALISATION) or "bias" in name.split("_"):
                undecayed.add(id(parameter))
    groups: tuple[list[tuple[str, torch.Tensor]], ...] = ([], [])
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[id(parameter) in undecayed].append((name, parameter))
    return [
        {"params": params, "weight_decay": decay}
        for params, decay in zip(groups, (weight_decay, 0.0), strict=True)
        if params
    ]
