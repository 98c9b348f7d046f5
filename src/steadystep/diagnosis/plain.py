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
        self._places: list[tuple[str, Callable[[], Any], Callable[[Any], None]]] = []
        if hasattr(user, "__dict__"):
            self._places += [
                _of_mapping(vars(user), name) for name in vars(user) if name not in ("model", "optimizer", "batches")
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

    def take(self) -> list[Any]:
        """Copy the values; what is not plain is left out."""
        return [_taken(read()) for _, read, _ in self._places]

    def numbers(self) -> list[tuple[str, Callable[[], Any], Callable[[Any], None]]]:
        """Return the numbers above 1 by name, with how each is read and written."""
        return [
            place for place in self._places if type(value := place[1]()) in (int, float) and 1 < value < float("inf")
        ]

    def put_back(self, values: list[Any]) -> None:
        """Put the values back."""
        for (_, read, write), value in zip(self._places, values, strict=True):
            if value is not _LEFT:
                write(_restored(read(), value))


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


def _taken(value: Any) -> Any:
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return copied(value.bit_generator.state)
    return copied(value) if _elements(value) <= _LARGEST else _LEFT


def _restored(present: Any, value: Any) -> Any:
    """Return the value in the object that is there, if it can hold it."""
    if isinstance(present, torch.Generator):
        present.set_state(value)
    elif isinstance(present, random.Random):
        present.setstate(value)
    elif isinstance(present, np.random.Generator):
        present.bit_generator.state = copied(value)
    elif isinstance(present, list) and isinstance(value, list):
        present[:] = copied(value)
    elif isinstance(present, dict | set) and type(present) is type(value):
        present.clear()
        present.update(copied(value))
    elif isinstance(present, torch.Tensor) and isinstance(value, torch.Tensor) and present.shape == value.shape:
        with torch.no_grad():
            present.copy_(value)
    else:
        return copied(value)
    return present


def _elements(value: Any) -> float:
    """Return how many elements a plain value has, or infinity if it is not plain."""
    if isinstance(value, _ATOMS):
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
