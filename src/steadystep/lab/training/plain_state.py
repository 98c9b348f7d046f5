"""A nested state as JSON and tensors, so that it can be stored without pickles."""

from collections.abc import Mapping
from typing import Any

import torch


def to_plain(state: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """Return a state as what JSON can hold, and its tensors, flat and on the CPU, by the names that stand for them.

    A state consists of dicts with any plain keys, lists, tuples, tensors, dtypes, numbers, texts and None.

    >>> plain, tensors = to_plain({0: (1.5, torch.ones(2, 1)), "dtype": torch.bfloat16})
    >>> from_plain(plain, tensors)
    {0: (1.5, tensor([[1.],
            [1.]])), 'dtype': torch.bfloat16}
    """
    tensors: dict[str, torch.Tensor] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            name = f"tensor{len(tensors)}"
            shape, stride = list(value.shape), list(value.stride())
            if not value.numel():  # files of tensors need not hold what has no numbers
                return {"empty": shape, "dtype": _name(value.dtype)}
            tensors[name] = value.detach().cpu().reshape(-1)
            return {"tensor": name, "shape": shape, "stride": stride}
        if isinstance(value, torch.dtype):
            return {"dtype": _name(value)}
        if isinstance(value, Mapping):
            return {"dict": [[plain(key), plain(item)] for key, item in value.items()]}
        if isinstance(value, tuple):
            return {"tuple": [plain(item) for item in value]}
        if isinstance(value, list):
            return [plain(item) for item in value]
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"a state cannot contain a {type(value).__name__}")

    return plain(state), tensors


def from_plain(plain: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Return the state that `to_plain` has made these of."""
    if isinstance(plain, list):
        return [from_plain(item, tensors) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if "tensor" in plain:
        flat = tensors[plain["tensor"]]
        return torch.empty_strided(plain["shape"], plain["stride"], dtype=flat.dtype).copy_(flat.view(plain["shape"]))
    if "empty" in plain:
        return torch.empty(plain["empty"], dtype=getattr(torch, plain["dtype"]))
    if "dtype" in plain:
        return getattr(torch, plain["dtype"])
    if "tuple" in plain:
        return tuple(from_plain(item, tensors) for item in plain["tuple"])
    return {from_plain(key, tensors): from_plain(item, tensors) for key, item in plain["dict"]}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
