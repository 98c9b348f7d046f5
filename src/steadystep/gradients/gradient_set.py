"""The tensors that a step is about."""

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
    """Those parameters of an optimizer that have a gradient, in the order of its groups."""

    gradients: list[torch.Tensor] = field(default_factory=list)  # this rank's part; complex ones as pairs of reals
    parameters: list[torch.Tensor] = field(default_factory=list)  # as the user gave them
    names: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)  # of each among all parameters of the optimizer
    groups: list[slice] = field(default_factory=list)  # which of these make up each parameter group
    named: bool = True  # whether the names are the user's
    all_names: set[str] = field(default_factory=set)  # of these and of those without a gradient, as the user gave them
    members: list[list[torch.Tensor]] = field(default_factory=list)  # all parameters, group by group
    prepared: dict[str, Any] = field(default_factory=dict)  # what a backend keeps from one step to the next
    _addresses: np.ndarray | None = None
    _contiguous: bool | None = None

    @cached_property
    def count(self) -> int:
        """Parameters of the optimizer, with a gradient or without."""
        return sum(map(len, self.members))

    @cached_property
    def home(self) -> torch.device:
        """Where decisions are made: on a CPU if all gradients are, else on the first other device."""
        devices = (gradient.device for gradient in self.gradients)
        return next((device for device in devices if device.type != "cpu"), torch.device("cpu"))

    @cached_property
    def sharded(self) -> bool:
        """Whether other ranks hold shards of any of them."""
        return any(is_sharded(parameter) for parameter in self.parameters)

    @cached_property
    def largest_squares(self) -> Number:
        """(tensors,) for each gradient the largest value whose square the moments' type can hold, at `home`."""
        limits = np.array(self._limits)
        return limits if self.home.type == "cpu" else torch.from_numpy(limits).to(self.home)

    @cached_property
    def largest_square(self) -> float | None:
        """The one number that all of `largest_squares` are; None if they differ."""
        return self._limits[0] if len(set(self._limits)) == 1 else None

    @cached_property
    def _limits(self) -> list[float]:
        moments = [torch.float64 if x.dtype == torch.float64 else torch.float32 for x in self.gradients]
        return [torch.finfo(dtype).max ** 0.5 for dtype in moments]

    @property
    def addresses(self) -> np.ndarray:
        """(tensors,) where in memory each gradient begins, int64."""
        if self._addresses is None:
            pointers = map(torch.Tensor.data_ptr, self.gradients)
            self._addresses = np.fromiter(pointers, np.int64, len(self.gradients))
        return self._addresses

    @property
    def contiguous(self) -> bool:
        """Whether the elements of every gradient lie in the order of its dimensions, without gaps."""
        if self._contiguous is None:
            self._contiguous = all(map(torch.Tensor.is_contiguous, self.gradients))
        return self._contiguous

    @cached_property
    def _idle(self) -> list[torch.Tensor]:
        """The parameters that have no gradient."""
        stepping = set(map(id, self.parameters))
        return [member for members in self.members for member in members if id(member) not in stepping]

    @cached_property
    def _devices(self) -> list[int]:
        return [parameter.get_device() for parameter in self.parameters]

    @cached_property
    def _plain(self) -> bool:
        """Whether a gradient can be taken as it is: nothing sharded, nothing complex."""
        return not (self.sharded or any(parameter.is_complex() for parameter in self.parameters))

    def renew(self, param_groups: Sequence[Mapping[str, Any]]) -> bool:
        """Take the present gradients of the same parameters; False where the tensors have to be gathered anew."""
        if not self._plain or len(param_groups) != len(self.members):
            return False
        for group, members in zip(param_groups, self.members, strict=True):
            params = group["params"]
            if len(params) != len(members) or not all(map(is_, params, members)):
                return False
        # Maps over torch's own functions: a loop in Python is much of the step of a model of many tensors.
        if any(map(is_not, map(_GRADIENT, self._idle), repeat(None))):
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
        """Let go of the gradients: between steps their memory is the user's."""
        self.gradients.clear()
        self._addresses = self._contiguous = None


def gather_gradients(param_groups: Sequence[Mapping[str, Any]], who: str) -> GradientSet:
    """What has a gradient in an optimizer's parameter groups. `who` is named if one of them is sparse.

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
                    f"{who} does not support sparse gradients, and {name} has one: use torch.optim.SparseAdam, or an "
                    "embedding with sparse=False"
                )
            found.gradients.append(part(gradient.resolve_conj().resolve_neg()))
            found.parameters.append(parameter)
            found.names.append(name)
            found.positions.append(count - 1)
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
