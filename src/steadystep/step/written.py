"""What the step of an optimizer from elsewhere has written, and which of it is not finite."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch

from steadystep.gradients.gradient_set import name_of
from steadystep.gradients.names import qualified_names
from steadystep.kernels.finite import FiniteCheck
from steadystep.step.state import is_stored_by_guard

_CONTAINERS = (list, tuple, deque)
_EXACT = frozenset((torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64))


class Written:
    """Finds what is not finite among the parameters that step, the state and the numbers of the groups.

    A parameter steps if it has a gradient before or after the step: an optimizer may compute gradients, or drop them.

    What was not finite when it was first seen, such as a mask of minus infinities, is the user's and left out.
    """

    def __init__(self) -> None:
        self._check = FiniteCheck()
        self._given: frozenset[str] | None = None
        self._stepping: list[torch.Tensor] = []  # the parameters that had a gradient before the step
        self._inner: list[torch.optim.Optimizer] = []  # the optimizers inside the optimizer
        self._attributes = 0  # the number of attributes among which they were looked for

    def look(self, optimizer: torch.optim.Optimizer) -> None:
        """Remember which parameters have a gradient before a step and, before the first, what is not finite."""
        self._stepping = _with_gradient(self._all(optimizer))
        if self._given is None:
            self._given = frozenset(self._nonfinite(optimizer))

    def nonfinite(self, optimizer: torch.optim.Optimizer) -> list[str]:
        """Return the names of what the step has made not finite."""
        return [name for name in self._nonfinite(optimizer) if name not in (self._given or ())]

    def _all(self, optimizer: torch.optim.Optimizer) -> list[torch.optim.Optimizer]:
        """Return the optimizer and those inside it."""
        if self._attributes != len(vars(optimizer)):
            self._attributes, self._inner = len(vars(optimizer)), _optimizers(optimizer)[1:]
        return [optimizer, *self._inner]

    def _nonfinite(self, optimizer: torch.optim.Optimizer) -> list[str]:
        tensors: list[torch.Tensor] = []
        bad: list[Any] = []
        _collect(_with_gradient(self._all(optimizer), self._stepping), tensors, bad)
        for one in self._all(optimizer):
            _collect(one.state.values(), tensors, bad)
            _collect(chain.from_iterable(map(_numbers, one.param_groups)), tensors, bad)
        bad += [tensors[index] for index in self._check.nonfinite(tensors)]
        return _names(optimizer, bad) if bad else []


def _optimizers(optimizer: torch.optim.Optimizer) -> list[torch.optim.Optimizer]:
    """Return an optimizer and those inside it, each once."""
    found = [optimizer]
    for one in found:
        for value in vars(one).values():
            for inner in value if isinstance(value, list | tuple) else (value,):
                if isinstance(inner, torch.optim.Optimizer) and all(inner is not known for known in found):
                    found.append(inner)
    return found


def _with_gradient(
    optimizers: Sequence[torch.optim.Optimizer], before: Sequence[torch.Tensor] = ()
) -> list[torch.Tensor]:
    """Return the parameters of `before`, and after them the others that have a gradient."""
    known = set(map(id, before))
    members = (member for one in optimizers for group in one.param_groups for member in group["params"])
    return [*before, *(member for member in members if member.grad is not None and id(member) not in known)]


def _numbers(group: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the tensors and numbers among the options of a group, which some optimizers adapt."""
    for name, value in group.items():
        if name != "params" and not is_stored_by_guard(name):
            yield value


def _collect(values: Iterable[Any], tensors: list[torch.Tensor], bad: list[Any]) -> None:
    """Add the tensors that can be not finite to `tensors`, and the numbers that are not to `bad`."""
    for value in values:
        if isinstance(value, torch.Tensor):
            if value.dtype not in _EXACT:
                tensors.append(value)
        elif isinstance(value, float):
            if not math.isfinite(value):
                bad.append(value)
        elif isinstance(value, dict):
            _collect(value.values(), tensors, bad)
        elif isinstance(value, _CONTAINERS):
            _collect(value, tensors, bad)


def _names(optimizer: torch.optim.Optimizer, bad: Sequence[Any]) -> list[str]:
    """Return the names of some tensors and numbers of an optimizer."""
    wanted = set(map(id, bad))
    found: dict[str, None] = {}
    for one in _optimizers(optimizer):
        known = {
            id(parameter): name_of(number, position, parameter, names)
            for number, (group, names) in enumerate(
                zip(one.param_groups, qualified_names(one.param_groups), strict=True)
            )
            for position, parameter in enumerate(group["params"])
        }
        places = chain(
            ((known[id(parameter)], parameter) for group in one.param_groups for parameter in group["params"]),
            chain.from_iterable(
                _places(key, _of(known.get(id(owner))), value)
                for owner, entry in one.state.items()
                for key, value in (entry.items() if isinstance(entry, dict) else [("state", entry)])
            ),
            chain.from_iterable(
                _places(key, f" of group {number}", value)
                for number, group in enumerate(one.param_groups)
                for key, value in group.items()
                if key != "params" and not is_stored_by_guard(key)
            ),
        )
        found.update({name: None for name, value in places if id(value) in wanted})
    return list(found)


def _of(owner: str | None) -> str:
    return f" of {owner}" if owner is not None else " of the optimizer"


def _places(key: Any, owner: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a value with its name, and what it contains with theirs."""
    yield f"{key}{owner}", value
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, _CONTAINERS) else ()
    for inner, entry in entries:
        yield from _places(f"{key}[{inner!r}]", owner, entry)
