"""Let a run compute in a wider type, wherever it asks for a narrow one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from steadystep.diagnosis.run import Run

NARROW = (torch.float16, torch.bfloat16)
_CASTS = {"half", "bfloat16", "float"}


class _Wide(TorchFunctionMode):
    """Replaces narrow types among the arguments of all functions."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in _CASTS and args:
            return args[0].to(self._dtype) if _widens(args[0].dtype, self._dtype) else func(*args, **(kwargs or {}))
        args, kwargs = tree_map(self._widened, (args, kwargs or {}))
        return func(*args, **kwargs)

    def _widened(self, value: Any) -> Any:
        return self._dtype if isinstance(value, torch.dtype) and _narrower(value, self._dtype) else value


@contextmanager
def widened(run: Run, dtype: torch.dtype) -> Iterator[None]:
    """Hold the model and the optimizer's state in a wider type, and let the code between compute in it.

    Narrow floating types, and for float64 also float32, become `dtype` in parameters, buffers, moments, casts and what
    is newly made; autocast is off. The tensors of before come back at the end, with their values of then.
    """
    put_back: list[Callable[[], None]] = []

    def widen(owner: Any, name: str | None, tensor: torch.Tensor) -> None:
        if not _narrower(tensor.dtype, dtype):
            return
        if name is None:
            narrow = owner.data
            owner.grad = None
            owner.data = narrow.to(dtype)
            put_back.append(lambda: _give_back(owner, narrow))
        else:
            owner[name] = tensor.to(dtype)
            put_back.append(lambda: owner.__setitem__(name, tensor))

    for parameter in run.model.parameters():
        widen(parameter, None, parameter)
    for module in run.model.modules():
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                widen(module._buffers, name, buffer)
    for entry in run.optimizer.state.values():
        for name, value in list(entry.items()) if isinstance(entry, dict) else ():
            if isinstance(value, torch.Tensor) and name != "step":
                widen(entry, name, value)
    try:
        with (
            mock.patch.object(torch.autocast, "__enter__", _not_entered),
            mock.patch.object(torch.autocast, "__exit__", _not_left),
            _Wide(dtype),
        ):
            yield
    finally:
        for undo in reversed(put_back):
            undo()


def wide_batch(batch: Any, dtype: torch.dtype) -> Any:
    """Return a batch whose floating tensors are in a wider type."""
    return tree_map(
        lambda leaf: leaf.to(dtype) if isinstance(leaf, torch.Tensor) and _narrower(leaf.dtype, dtype) else leaf, batch
    )


def _not_entered(autocast: Any) -> Any:
    return autocast


def _not_left(autocast: Any, *error: Any) -> bool:
    return False


def _give_back(parameter: torch.Tensor, narrow: torch.Tensor) -> None:
    parameter.grad = None
    parameter.data = narrow


def _narrower(given: torch.dtype, dtype: torch.dtype) -> bool:
    return given.is_floating_point and torch.finfo(given).bits < torch.finfo(dtype).bits


def _widens(given: torch.dtype, dtype: torch.dtype) -> bool:
    return given.is_floating_point and torch.finfo(given).bits <= torch.finfo(dtype).bits
