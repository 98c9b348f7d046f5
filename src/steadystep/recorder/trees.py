"""Nested values, such as a batch or the state of a scheduler, as JSON and tensors, and back. Nothing is executed."""

import base64
from collections import Counter, namedtuple
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from steadystep.recorder.errors import BrokenBoxError

DEPTH = 64
"""How deep values may be nested."""

NODES = 1 << 20
"""How many values a tree may have."""

_KINDS = "biufc"
"""The kinds of NumPy arrays that are kept: numbers."""


class Unwritable(TypeError):
    """A value is of a class that cannot be written without executing code when it is read."""


def flatten(value: Any, tensors: list[torch.Tensor]) -> Any:
    """Return a value as JSON, and append its tensors.

    Args:
        value: numbers, strings, bytes, None, tensors and NumPy arrays, in dicts, lists, tuples and named tuples.
        tensors: gets the tensors, to which the JSON refers by their places; arrays are among them as bytes.

    Raises:
        Unwritable: for anything else, naming its class, and for a value with too many parts.

    >>> found = []
    >>> flatten({"x": torch.ones(2), "name": ("a", 1.5)}, found)
    {'dict': [['x', {'tensor': 0}], ['name', {'tuple': ['a', {'float': '0x1.8000000000000p+0'}]}]]}
    >>> restore({"tuple": ["a", {"tensor": 0}]}, found)
    ('a', tensor([1., 1.]))
    """
    left = NODES

    def tree_of(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > DEPTH or left < 0:
            raise Unwritable("a value is nested too deep or has too many parts for a box")
        inner = partial(tree_of, depth=depth + 1)
        if isinstance(value, torch.Tensor):
            return _tensor(value, tensors)
        if isinstance(value, np.ndarray):
            return _array(value, tensors)
        if isinstance(value, np.generic):
            return {"number": _array(np.asarray(value), tensors)}
        if isinstance(value, Mapping):
            kind = "counter" if isinstance(value, Counter) else "dict"
            return {kind: [[inner(key), inner(item)] for key, item in value.items()]}
        fields = getattr(value, "_fields", None)
        if isinstance(value, tuple) and fields is not None:
            return {"namedtuple": type(value).__name__, "fields": list(fields), "items": list(map(inner, value))}
        if isinstance(value, list | tuple):
            return {"list" if isinstance(value, list) else "tuple": list(map(inner, value))}
        return _plain(value)

    return tree_of(value, 0)


def _plain(value: Any) -> Any:
    """Return a value without parts as JSON. A float is written so that every bit comes back."""
    if value is None or type(value) in (bool, str):
        return value
    if isinstance(value, str | torch.dtype | torch.device):
        return str(value)
    if isinstance(value, int):
        return int(value) if abs(value) < 2**53 else {"int": hex(value)}
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    raise Unwritable(f"an object of the class {type(value).__name__} cannot be written to a box")


def _tensor(value: torch.Tensor, tensors: list[torch.Tensor]) -> Any:
    if value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
        raise Unwritable(f"a tensor of layout {value.layout} on {value.device} cannot be written to a box")
    value = value.detach().resolve_conj().resolve_neg()
    tensors.append(torch.view_as_real(value) if value.is_complex() else value)
    place = {"tensor": len(tensors) - 1}
    return {**place, "complex": True} if value.is_complex() else place


def _array(value: np.ndarray, tensors: list[torch.Tensor]) -> Any:
    if value.dtype.kind not in _KINDS:
        raise Unwritable(f"an array of {value.dtype} cannot be written to a box")
    plain = np.array(value, value.dtype.newbyteorder("<"), order="C")
    tensors.append(torch.from_numpy(plain.reshape(-1).view(np.uint8)))
    return {"array": len(tensors) - 1, "dtype": plain.dtype.str, "shape": list(value.shape)}


def restore(tree: Any, tensors: list[torch.Tensor]) -> Any:
    """Return the value that `flatten` was given.

    Raises:
        BrokenBoxError: if the JSON is not what `flatten` returns.
    """
    left = NODES

    def value_of(node: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > DEPTH or left < 0:
            raise BrokenBoxError("a value in the box is nested too deep or has too many parts")
        if node is None or isinstance(node, bool | str | int):
            return node
        if not isinstance(node, dict) or not node:
            raise BrokenBoxError("a value in the box is not of a kind that a box has")
        kind = next(iter(node))
        read = _READERS.get(kind)
        if read is None:
            raise BrokenBoxError("a value in the box is not of a kind that a box has")
        return read(node, tensors, lambda inner: value_of(inner, depth + 1))

    try:
        return value_of(tree, 0)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError, RuntimeError) as error:
        if isinstance(error, BrokenBoxError):
            raise
        raise BrokenBoxError("a value in the box is not what was written there") from error


Inner = Callable[[Any], Any]
Reader = Callable[[dict[str, Any], list[torch.Tensor], Inner], Any]


def _read_tensor(node: dict[str, Any], tensors: list[torch.Tensor], inner: Inner) -> torch.Tensor:
    found = tensors[_place(node["tensor"])]
    return torch.view_as_complex(found) if node.get("complex") is True else found


def _read_array(node: dict[str, Any], tensors: list[torch.Tensor], inner: Inner) -> np.ndarray:
    raw, name, shape = tensors[_place(node["array"])], node["dtype"], node["shape"]
    if raw.dtype != torch.uint8 or not isinstance(name, str) or not isinstance(shape, list):
        raise ValueError
    dtype = np.dtype(name)
    if dtype.kind not in _KINDS:
        raise ValueError
    return raw.numpy().view(dtype).reshape([_place(size) for size in shape])


def _read_pairs(node: dict[str, Any], inner: Inner, kind: str) -> dict[Any, Any]:
    return {inner(key): inner(item) for key, item in node[kind]}


def _read_named(node: dict[str, Any], tensors: list[torch.Tensor], inner: Inner) -> tuple[Any, ...]:
    name, fields, items = node["namedtuple"], node["fields"], node["items"]
    return namedtuple(name, fields)(*map(inner, items))  # which checks that these are identifiers


def _place(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError
    return number


_READERS: dict[str, Reader] = {
    "tensor": _read_tensor,
    "array": _read_array,
    "number": lambda node, tensors, inner: inner(node["number"])[()],
    "int": lambda node, tensors, inner: int(node["int"], 16),
    "float": lambda node, tensors, inner: float.fromhex(node["float"]),
    "complex": lambda node, tensors, inner: complex(*map(float.fromhex, node["complex"])),
    "bytes": lambda node, tensors, inner: base64.b64decode(node["bytes"], validate=True),
    "list": lambda node, tensors, inner: list(map(inner, node["list"])),
    "tuple": lambda node, tensors, inner: tuple(map(inner, node["tuple"])),
    "dict": lambda node, tensors, inner: _read_pairs(node, inner, "dict"),
    "counter": lambda node, tensors, inner: Counter(_read_pairs(node, inner, "counter")),
    "namedtuple": _read_named,
}
