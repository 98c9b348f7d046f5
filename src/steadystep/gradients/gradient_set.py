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
from steadystep.gradients.fsdp1 import refuse_fsdp1
from steadystep.gradients.names import qualified_names
from steadystep.gradients.repeated import is_repeated
from steadystep.memory.access import check_storage, owns_memory
from steadystep.memory.elements import check_elements
from steadystep.memory.fingerprint import addresses_of
from steadystep.tracing.ops import Number

_GRADIENT = attrgetter("grad")


@dataclass
class GradientSet:
    """The parameters of an optimizer that have a gradient, with their gradients, in the order of its groups."""

    gradients: list[torch.Tensor] = field(default_factory=list)  # this rank's shards; complex ones as pairs of reals
    parameters: list[torch.Tensor] = field(default_factory=list)  # as the user gave them
    names: list[str] = field(default_factory=list)  # one for each, as `qualified_names` gives them
    given_names: list[str] = field(default_factory=list)  # the user's, which two of them may share
    positions: list[int] = field(default_factory=list)  # of each parameter among all parameters of the optimizer
    groups: list[slice] = field(default_factory=list)  # the entries that belong to each parameter group
    named: bool = True  # whether the names are the user's
    all_names: set[str] = field(default_factory=set)  # the user's names, also of parameters without a gradient
    members: list[list[torch.Tensor]] = field(default_factory=list)  # all parameters, group by group
    prepared: dict[str, Any] = field(default_factory=dict)  # what a backend prepares once and reuses in every step
    own_memory: bool = True  # whether the elements of every gradient lie in its own storage
    contiguous: bool = True  # whether every gradient is contiguous, and in memory of its own
    _types: list[type] = field(default_factory=list)
    renewable: bool = False  # whether the gradients of the next step can be taken without being gathered again
    _addresses: np.ndarray | None = None

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
        wide = (torch.float64, torch.complex128)
        moments = [torch.float64 if x.dtype in wide else torch.float32 for x in self.parameters]
        return [torch.finfo(dtype).max ** 0.5 for dtype in moments]

    @property
    def addresses(self) -> np.ndarray:
        """(tensors,) the address of each gradient, int64, as it was first asked for since `locate` or `release`."""
        if self._addresses is None:
            self._addresses = np.array(addresses_of(self.gradients), np.int64)
        return self._addresses

    @addresses.setter
    def addresses(self, addresses: np.ndarray) -> None:
        self._addresses = addresses

    @cached_property
    def _without_gradient(self) -> list[torch.Tensor]:
        stepping = set(map(id, self.parameters))
        return [member for member in self._with_elements(True) if id(member) not in stepping]

    @cached_property
    def _empty(self) -> list[torch.Tensor]:
        return self._with_elements(False)

    def _with_elements(self, wanted: bool) -> list[torch.Tensor]:
        return [member for members in self.members for member in members if bool(member.numel()) == wanted]

    def _describe(self) -> None:
        """Remember what the gradients are like, to notice when the next ones differ."""
        self._types = list(map(type, self.gradients))
        self.own_memory = all(map(owns_memory, self.gradients))
        # Sharded and complex gradients are converted, and so have to be gathered in every step.
        plain = not (self.sharded or any(parameter.is_complex() for parameter in self.parameters))
        self.renewable = self.own_memory and plain
        self.contiguous = self.own_memory and all(map(torch.Tensor.is_contiguous, self.gradients))

    def renew(self, param_groups: Sequence[Mapping[str, Any]]) -> bool:
        """Take the current gradients of the same parameters; return False if they have to be gathered again.

        They have to be if the parameters are others, and if a gradient is not as plain as the one before. Whether its
        memory is alike is left to the caller, who asks this only of a set that is `renewable`, and of as many groups.
        """
        for group, members in zip(param_groups, self.members, strict=True):
            params = group["params"]
            if len(params) != len(members) or not all(map(is_, params, members)):
                return False
        if self._empty and any(map(torch.Tensor.numel, self._empty)):
            return False
        if self._without_gradient and any(map(is_not, map(_GRADIENT, self._without_gradient), repeat(None))):
            return False
        gradients: list[torch.Tensor] = list(map(_GRADIENT, self.parameters))
        if list(map(type, gradients)) != self._types or any(map(torch.Tensor.is_neg, gradients)):
            return False
        self.gradients[:] = gradients
        return True

    def locate(self) -> None:
        """Forget the addresses: whoever keeps the same tensors from step to step calls this before each of them."""
        self._addresses = None

    def release(self) -> None:
        """Drop the references to the gradients, so that their memory can be freed between steps."""
        self.gradients.clear()
        self._addresses = None


def gather_gradients(
    param_groups: Sequence[Mapping[str, Any]], optimizer: str, measured: bool = True, once: bool = False
) -> GradientSet:
    """Collect the gradients of an optimizer's parameter groups.

    Args:
        param_groups: the groups, as torch.optim has them.
        optimizer: the name that an error message gives.
        measured: whether the gradients will be measured, or only be read element by element.
        once: leave out a gradient that an earlier parameter has too, because gradients are written in place.

    Raises:
        RuntimeError: for a sparse gradient, naming the tensor and what to do; for tensors over whose shards no global
            norm can be taken.
        RuntimeError: for a tensor without elements, on the meta device or a fake one, naming it.
        ValueError: for a gradient that reaches beyond its storage, naming the tensor.
    """
    if measured:
        refuse_fsdp1((parameter for group in param_groups for parameter in group["params"]), optimizer)
    found = GradientSet()
    count = 0
    seen: set[Any] = set()
    for number, (group, names) in enumerate(zip(param_groups, qualified_names(param_groups), strict=True)):
        start = len(found.gradients)
        given = group.get("param_names") or ()
        found.named = found.named and group.get("param_names") is not None
        found.all_names.update(given, names)
        found.members.append(list(group["params"]))
        for position, parameter in enumerate(group["params"]):
            count += 1
            gradient = parameter.grad
            if gradient is None or parameter.numel() == 0:
                continue
            name = name_of(number, position, parameter, names)
            if gradient.is_sparse:
                raise RuntimeError(
                    f"{optimizer} does not support sparse gradients, and {name} has one: use torch.optim.SparseAdam, "
                    "or an embedding with sparse=False"
                )
            check_elements(parameter, name)
            check_elements(gradient, f"the gradient of {name}")
            check_storage(gradient, f"the gradient of {name}")
            if once and is_repeated(gradient, seen):
                continue
            found.gradients.append(local_reals(gradient.resolve_conj().resolve_neg()))
            found.parameters.append(parameter)
            found.names.append(name)
            found.given_names.append(given[position] if position < len(given) else name)
            found.positions.append(count - 1)
        if len(found.gradients) > start:
            found.groups.append(slice(start, len(found.gradients)))
    check(found.parameters, [parameter.grad for parameter in found.parameters if parameter.grad is not None])
    found._describe()
    return found


def name_of(group: int, position: int, parameter: torch.Tensor, names: Sequence[str] | None) -> str:
    """Return the name that messages and the ledger give a parameter: the user's, or where it is and its shape."""
    if names and position < len(names):
        return names[position]
    return f"group {group}, tensor {position}, shape {tuple(parameter.shape)}"


def set_of(tensors: Sequence[torch.Tensor]) -> GradientSet:
    """Return any tensors as a set that can be measured like gradients."""
    reals = [local_reals(tensor.resolve_conj().resolve_neg()) for tensor in tensors]
    found = GradientSet(reals, list(tensors))
    found._describe()
    return found


def local_reals(tensor: torch.Tensor) -> torch.Tensor:
    """Return this rank's shard of a tensor as backends use it, with complex numbers as pairs of real numbers."""
    shard = local(tensor)
    return torch.view_as_real(shard) if shard.is_complex() else shard
