"""The plain values that a run keeps in its attributes, in closures and in globals, such as counters."""

import itertools
import math
import random
from collections.abc import Callable, Iterable
from types import CellType, FunctionType
from typing import Any

import numpy as np
import torch

from steadystep.recorder.state import copied

_ATOMS = (int, float, complex, str, bytes, bool, type(None))
_CONTAINERS = (list, dict, set, tuple)
_LARGEST = 10_000
"""Elements of a value that a run can be expected to change; larger ones are data."""


class Plain:
    """Copies the plain values that a run can change, and puts them back in the same objects.

    A run with a step of its own often counts its steps, or keeps the last loss, in an attribute, in a variable around
    the function, or in a global variable. A replay must start with the values of then.
    """

    def __init__(self, user: Any, functions: Iterable[Any]) -> None:
        self._places: list[tuple[str, Callable[[], Any], Callable[[Any], None]]] = [
            _of_attribute(user, name) for name in attributes(user) if name not in ("model", "optimizer", "batches")
        ]
        for function in functions:
            inner = getattr(function, "__func__", function)
            if not isinstance(inner, FunctionType):
                continue
            cells = zip(inner.__code__.co_freevars, inner.__closure__ or (), strict=True)
            self._places += [_of_cell(name, cell) for name, cell in cells]
            self._places += [
                _of_mapping(inner.__globals__, name) for name in inner.__code__.co_names if name in inner.__globals__
            ]

    def take(self) -> list["Restore | None"]:
        """Copy the values, and return for each how it is put back; None for what is not plain."""
        return [restorer(value) if _elements(value := read()) <= _LARGEST else None for _, read, _ in self._places]

    def numbers(self) -> list[tuple[str, Callable[[], Any], Callable[[Any], None]]]:
        """Return the numbers above 1 by name, with how each is read and written."""
        return [
            place for place in self._places if type(value := place[1]()) in (int, float) and 1 < value < float("inf")
        ]

    def put_back(self, values: list["Restore | None"]) -> None:
        """Put the values back."""
        for (_, read, write), restore in zip(self._places, values, strict=True):
            if restore is not None and (value := restore()) is not read():
                write(value)


def attributes(user: Any) -> dict[str, Any]:
    """Return the attributes of an object by name, also those that it keeps in slots or as a named tuple."""
    slots = [name for kind in type(user).__mro__ for name in _names(getattr(kind, "__slots__", ()))]
    fields = [*slots, *getattr(type(user), "_fields", ())]
    return {name: getattr(user, name) for name in fields if hasattr(user, name)} | dict(getattr(user, "__dict__", {}))


def _names(slots: str | Iterable[str]) -> list[str]:
    return [name for name in ([slots] if isinstance(slots, str) else slots) if not name.startswith("__")]


def surroundings(functions: Iterable[Any]) -> dict[str, Any]:
    """Return what functions find around them: the variables of enclosing functions and globals, by name."""
    found: dict[str, Any] = {}
    for function in functions:
        inner = getattr(function, "__func__", function)
        if isinstance(inner, FunctionType):
            found.update(
                {name: inner.__globals__[name] for name in inner.__code__.co_names if name in inner.__globals__}
            )
            cells = zip(inner.__code__.co_freevars, inner.__closure__ or (), strict=True)
            found.update({name: value for name, cell in cells if (value := _of_cell(name, cell)[1]()) is not _LEFT})
    return found


_LEFT = object()
"""Stands for a value that is not plain."""


def _of_mapping(mapping: dict[str, Any], name: str) -> tuple[str, Callable[[], Any], Callable[[Any], None]]:
    return name, lambda: mapping.get(name), lambda value: mapping.__setitem__(name, value)


def _of_cell(name: str, cell: CellType) -> tuple[str, Callable[[], Any], Callable[[Any], None]]:
    def read() -> Any:
        try:
            return cell.cell_contents
        except ValueError:  # a variable that has no value yet
            return _LEFT

    def write(value: Any) -> None:
        cell.cell_contents = value

    return name, read, write


def _of_attribute(user: Any, name: str) -> tuple[str, Callable[[], Any], Callable[[Any], None]]:
    # A frozen dataclass forbids assignments, but may hold a value that changes.
    return name, lambda: getattr(user, name, None), lambda value: object.__setattr__(user, name, value)


Restore = Callable[[], Any]
"""Gives an object the value that it had, and returns the object."""


def restorer(value: Any) -> Restore:
    """Copy a plain value, and return what puts it back into the same object, and into the same objects within it."""
    match value:
        case torch.Generator():
            state = value.get_state()
            return lambda: (value.set_state(state), value)[1]
        case random.Random():
            place = value.getstate()
            return lambda: (value.setstate(place), value)[1]
        case np.random.Generator():
            bits = copied(value.bit_generator.state)
            return lambda: (setattr(value.bit_generator, "state", copied(bits)), value)[1]
        case torch.Tensor():
            clone = value.detach().clone()
            return lambda: _overwritten(value, clone)
        case np.ndarray():
            content = value.copy()
            return lambda: _overwritten_array(value, content)
        case list():
            items = [restorer(item) for item in value]
            return lambda: _refilled(value, items)
        case dict():
            pairs = {key: restorer(item) for key, item in value.items()}
            return lambda: _refilled_mapping(value, pairs)
        case set():
            members = set(value)
            return lambda: (value.clear(), value.update(members), value)[2]
        case tuple():
            parts = [restorer(item) for item in value]
            return lambda: ([part() for part in parts], value)[1]
    return lambda: value


@torch.no_grad()
def _overwritten(tensor: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
    """Return the tensor with its content of before, or a copy of that if the tensor has another form now."""
    if (tensor.shape, tensor.dtype, tensor.device) != (content.shape, content.dtype, content.device):
        return content.clone()
    if tensor.is_inference() or (0 in tensor.stride() and tensor.numel() > 1):  # may not be written to
        return tensor
    return tensor.copy_(content)


def _overwritten_array(array: np.ndarray, content: np.ndarray) -> np.ndarray:
    if array.flags.writeable:
        array[...] = content
    return array


def _refilled(values: list[Any], items: list[Restore]) -> list[Any]:
    values[:] = [item() for item in items]
    return values


def _refilled_mapping(values: dict[Any, Any], pairs: dict[Any, Restore]) -> dict[Any, Any]:
    items = {key: item() for key, item in pairs.items()}
    values.clear()
    values.update(items)
    return values


def _elements(value: Any) -> float:
    """Return how many elements a plain value has, or infinity if it is not plain."""
    if isinstance(value, (*_ATOMS, torch.Generator, random.Random, np.random.Generator)):
        return 1
    if isinstance(value, np.ndarray | np.generic):
        return value.size
    if isinstance(value, torch.Tensor):
        return value.numel() if value.is_leaf and not isinstance(value, torch.nn.Parameter) else math.inf
    if type(value) not in _CONTAINERS:
        return math.inf
    total: float = 0
    for item in itertools.chain(value.keys(), value.values()) if isinstance(value, dict) else value:
        total += _elements(item)
        if total > _LARGEST:
            return math.inf
    return total
