"""The plain values that a run keeps in its attributes, in closures and in globals, such as counters."""

import itertools
import math
import random
from collections.abc import Callable, Iterable
from functools import partial
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

    def take(self) -> "Plains":
        """Copy the values; what is not plain is left out."""
        taken = [read() for _, read, _ in self._places]
        return [(value, restorer(value)) if _elements(value) <= _LARGEST else None for value in taken]

    def numbers(self) -> list[tuple[str, Callable[[], Any], Callable[[Any], None]]]:
        """Return the numbers above 1 by name, with how each is read and written."""
        return [
            place for place in self._places if type(value := place[1]()) in (int, float) and 1 < value < float("inf")
        ]

    def put_back(self, taken: "Plains") -> None:
        """Put the values back, as the same objects."""
        for (_, read, write), entry in zip(self._places, taken, strict=True):
            if entry is None:
                continue
            value, restore = entry
            restore()
            if read() is not value:
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


Restore = Callable[[], object]
"""Gives an object, and the objects in it, the content that they had."""

Plains = list[tuple[Any, Restore] | None]
"""The value at each place and how its content is restored; None for what is not plain."""


def restorer(value: Any) -> Restore:
    """Copy the content of a plain value, and return a function that restores it in place."""
    match value:
        case torch.Generator():
            return partial(value.set_state, value.get_state())
        case random.Random():
            return partial(value.setstate, value.getstate())
        case np.random.Generator():
            return partial(setattr, value.bit_generator, "state", copied(value.bit_generator.state))
        case torch.Tensor():
            return partial(_overwrite, value, value.detach().clone())
        case np.ndarray():
            return partial(_overwrite_array, value, value.copy())
        case list():
            return partial(_refill_list, value, list(value), list(map(restorer, value)))
        case dict() | set():
            inner = value.values() if isinstance(value, dict) else ()
            return partial(_refill, value, value.copy(), list(map(restorer, inner)))
        case tuple():
            return partial(_restore_all, list(map(restorer, value)))
    return _nothing


def _nothing() -> None:
    """Restore a value that cannot change."""


def _restore_all(restores: Iterable[Restore]) -> None:
    for restore in restores:
        restore()


def _refill_list(values: list[Any], items: list[Any], restores: Iterable[Restore]) -> None:
    values[:] = items
    _restore_all(restores)


def _refill(values: Any, items: Any, restores: Iterable[Restore]) -> None:
    values.clear()
    values.update(items)
    _restore_all(restores)


@torch.no_grad()
def _overwrite(tensor: torch.Tensor, content: torch.Tensor) -> None:
    if tensor.is_inference() or (0 in tensor.stride() and tensor.numel() > 1):
        return  # it may not be written to
    if tensor.shape == content.shape:
        tensor.copy_(content)
    else:
        tensor.data = content.clone()


def _overwrite_array(array: np.ndarray, content: np.ndarray) -> None:
    if array.flags.writeable:
        array[...] = content


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
