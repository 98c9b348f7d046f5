"""The gradients of a step, with their parameters and names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from operator import attrgetter, is_, is_not
from typing import Any

import numpy as np
import torch

from steadystep.gradients.distributed import check, is_sharded, local
from steadystep.tracing.ops import Number

_GRADIENT, _LAYOUT = attrgetter("grad"), attrgetter("layout")


@dataclass
class GradientSet:
    """The parameters of an optimizer that have a gradient, with their gradients, in the order of its groups."""

    gradients: list[torch.Tensor] = field(default_factory=list)  # this rank's shards; complex ones as pairs of reals
    parameters: list[torch.Tensor] = field(default_factory=list)  # as the user gave them
    names: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)  # of each parameter among all parameters of the optimizer
    groups: list[slice] = field(default_factory=list)  # the entries that belong to each parameter group
    named: bool = True  # whether the names are the user's
    all_names: set[str] = field(default_factory=set)  # the user's names, also of parameters without a gradient
    members: list[list[torch.Tensor]] = field(default_factory=list)  # all parameters, group by group
    prepared: dict[str, Any] = field(default_factory=dict)  # what a backend prepares once and reuses in every step
    _addresses: np.ndarray | None = None
    _contiguous: bool | None = None

    @cached_property
    def count(self) -> int:
        """The number of parameters of the optimizer, with or without a gradient."""
        return sum(map(len, self.members))

    @cached_property
    def home(self) -> torch.device:
        """The device on which decisions are made: the CPU if all gradients are there, else the first other device."""
        devices = (gradient.device for gradient in self.gradients)
        return next((device for device in devices if device.type != "cpu"), torch.device("cpu"))

    @cached_property
    def sharded(self) -> bool:
        """Whether other ranks hold shards of any of the parameters."""
        return any(is_sharded(parameter) for parameter in self.parameters)

    @cached_property
    def square_limits(self) -> Number:
        """(tensors,) the largest value per gradient whose square is finite in the dtype of its moments, on `home`."""
        limits = np.array(self._square_limits)
        return limits if self.home.type == "cpu" else torch.from_numpy(limits).to(self.home)

    @cached_property
    def square_limit(self) -> float | None:
        """The common value of `square_limits`, or None if they differ."""
        return self._square_limits[0] if len(set(self._square_limits)) == 1 else None

    @cached_property
    def _square_limits(self) -> list[float]:
        moments = [torch.float64 if x.dtype == torch.float64 else torch.float32 for x in self.gradients]
        return [torch.finfo(dtype).max ** 0.5 for dtype in moments]

    @property
    def addresses(self) -> np.ndarray:
        """(tensors,) the address of each gradient, int64."""
        if self._addresses is None:
            pointers = map(torch.Tensor.data_ptr, self.gradients)
            self._addresses = np.fromiter(pointers, np.int64, len(self.gradients))
        return self._addresses

    @property
    def contiguous(self) -> bool:
        """Whether every gradient is contiguous."""
        if self._contiguous is None:
            self._contiguous = all(map(torch.Tensor.is_contiguous, self.gradients))
        return self._contiguous

    @cached_property
    def _without_gradient(self) -> list[torch.Tensor]:
        stepping = set(map(id, self.parameters))
        return [member for members in self.members for member in members if id(member) not in stepping]

    @cached_property
    def _devices(self) -> list[int]:
        return [parameter.get_device() for parameter in self.parameters]

    @cached_property
    def _plain(self) -> bool:
        """Whether gradients can be read without conversion, that is, whether none is sharded or complex."""
        return not (self.sharded or any(parameter.is_complex() for parameter in self.parameters))

    def renew(self, param_groups: Sequence[Mapping[str, Any]]) -> bool:
        """Take the current gradients of the same parameters; return False if they have to be gathered again."""
        if not self._plain or len(param_groups) != len(self.members):
            return False
        for group, members in zip(param_groups, self.members, strict=True):
            params = group["params"]
            if len(params) != len(members) or not all(map(is_, params, members)):
                return False
        # map() over torch's own functions: a Python loop would take much of the step time if there are many tensors.
        if any(map(is_not, map(_GRADIENT, self._without_gradient), repeat(None))):
            return False
        gradients: list[torch.Tensor] = list(map(_GRADIENT, self.parameters))
        if (
            any(map(is_, gradients, repeat(None)))
            or any(map(is_not, map(_LAYOUT, gradients), repeat(torch.strided)))
            or any(map(torch.Tensor.is_neg, gradients))
            or list(map(torch.Tensor.get_device, gradients)) != self._devices
        ):
            return False
        self.gradients[:] = gradients
        return True

    def release(self) -> None:
        """Drop the references to the gradients, so that their memory can be freed between steps."""
        self.gradients.clear()
        self._addresses = self._contiguous = None


def gather_gradients(param_groups: Sequence[Mapping[str, Any]], optimizer: str) -> GradientSet:
    """Collect the gradients of an optimizer's parameter groups.

    Args:
        param_groups: the groups, as torch.optim has them.
        optimizer: the name that an error message gives.

    Raises:
        RuntimeError: for a sparse gradient, naming the tensor and what to do; for tensors over whose shards no global
            norm can be taken.
    """
    found = GradientSet()
    count = 0
    for number, group in enumerate(param_groups):
        start = len(found.gradients)
        names = group.get("param_names")
        found.named = found.named and names is not None
        found.all_names.update(names or ())
        found.members.append(list(group["params"]))
        for position, parameter in enumerate(group["params"]):
            count += 1
            gradient = parameter.grad
            if gradient is None or parameter.numel() == 0:
                continue
            name = names[position] if names else f"group {number}, tensor {position}, shape {tuple(parameter.shape)}"
            if gradient.is_sparse:
                raise RuntimeError(
                    f"{optimizer} does not support sparse gradients, and {name} has one: use torch.optim.SparseAdam, "
                    "or an embedding with sparse=False"
                )
            found.gradients.append(local_reals(gradient.resolve_conj().resolve_neg()))
            found.parameters.append(parameter)
            found.names.append(name)
            found.positions.append(count - 1)
        if len(found.gradients) > start:
            found.groups.append(slice(start, len(found.gradients)))
    check(found.parameters, [parameter.grad for parameter in found.parameters if parameter.grad is not None])
    return found


def local_reals(tensor: torch.Tensor) -> torch.Tensor:
    """Return this rank's shard of a tensor as backends use it, with complex numbers as pairs of real numbers."""
    shard = local(tensor)
    return torch.view_as_real(shard) if shard.is_complex() else shard
