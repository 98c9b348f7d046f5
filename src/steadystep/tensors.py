"""The tensors that a step is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from steadystep.distributed import check, local


@dataclass
class Tensors:
    """Those parameters of an optimizer that have a gradient, in the order of its groups."""

    gradients: list[torch.Tensor] = field(default_factory=list)  # this rank's part; complex ones as pairs of reals
    parameters: list[torch.Tensor] = field(default_factory=list)  # as the user gave them
    names: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)  # of each among all parameters of the optimizer
    groups: list[slice] = field(default_factory=list)  # which of these make up each parameter group
    named: bool = True  # whether the names are the user's
    count: int = 0  # parameters of the optimizer, with a gradient or without

    @property
    def home(self) -> torch.device:
        """Where decisions are made: on a CPU if all gradients are, else on the first other device."""
        devices = (gradient.device for gradient in self.gradients)
        return next((device for device in devices if device.type != "cpu"), torch.device("cpu"))


def tensors_of(param_groups: Sequence[Mapping[str, Any]], who: str) -> Tensors:
    """What has a gradient in an optimizer's parameter groups. `who` is named if one of them is sparse.

    Raises:
        RuntimeError: for a sparse gradient, naming the tensor and what to do; for tensors over whose shards no global
            norm can be taken.
    """
    found = Tensors()
    for number, group in enumerate(param_groups):
        start = len(found.gradients)
        names = group.get("param_names")
        found.named = found.named and names is not None
        for position, parameter in enumerate(group["params"]):
            found.count += 1
            gradient = parameter.grad
            if gradient is None or parameter.numel() == 0:
                continue
            name = names[position] if names else f"group {number}, tensor {position}, shape {tuple(parameter.shape)}"
            if gradient.is_sparse:
                raise RuntimeError(
                    f"{who} does not support sparse gradients, and {name} has one: use torch.optim.SparseAdam, or an "
                    "embedding with sparse=False"
                )
            found.gradients.append(part(gradient.resolve_conj() if gradient.is_conj() else gradient))
            found.parameters.append(parameter)
            found.names.append(name)
            found.positions.append(found.count - 1)
        if len(found.gradients) > start:
            found.groups.append(slice(start, len(found.gradients)))
    check(found.parameters, [parameter.grad for parameter in found.parameters if parameter.grad is not None])
    return found


def part(tensor: torch.Tensor) -> torch.Tensor:
    """This rank's part of a tensor, a complex one as pairs of real numbers: what a backend reads and writes."""
    return real(local(tensor))


def real(tensor: torch.Tensor) -> torch.Tensor:
    """A complex tensor as the pairs of its real and imaginary parts."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor
