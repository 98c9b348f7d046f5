"""The data of a task in the form in which a cluster holds them once per node."""

import io
import pickle
import warnings
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any

import numpy as np
import torch

from steadystep.lab.tasks.splits import Splits


class SharedSplits:
    """Splits whose tensors are pickled as arrays, which Ray keeps in the memory that a node's processes share.

    A tensor pickles as a copy of its bytes, so that every process of a node would have its own.
    """

    def __init__(self, splits: Splits[Any]) -> None:
        self.splits = splits

    def __reduce__(self) -> tuple[Any, tuple[bytes, list[np.ndarray[Any, Any]]]]:
        arrays: list[np.ndarray[Any, Any]] = []
        buffer = io.BytesIO()
        _Pickler(buffer, arrays).dump(self.splits)
        return _restore, (buffer.getvalue(), arrays)


def in_memory(splits: Splits[Any]) -> bool:
    """Return whether the splits are values that can be sent; images on a disk are read by the nodes themselves."""
    return all(is_dataclass(part) for part in (splits.train, splits.val, splits.test))


class _Pickler(pickle.Pickler):
    """A pickler that puts tensors aside."""

    def __init__(self, file: io.BytesIO, arrays: list[np.ndarray[Any, Any]]) -> None:
        super().__init__(file, protocol=5)
        self._arrays = arrays

    def persistent_id(self, obj: Any) -> int | None:
        """Return the number of a tensor among those put aside."""
        if not isinstance(obj, torch.Tensor):
            return None
        self._arrays.append(obj.numpy())
        return len(self._arrays) - 1


class _Unpickler(pickle.Unpickler):
    """An unpickler that takes the tensors from the arrays put aside, without a copy."""

    def __init__(self, file: io.BytesIO, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        super().__init__(file)
        self._arrays = arrays

    def persistent_load(self, pid: int) -> torch.Tensor:
        """Return a tensor on the memory of an array."""
        with warnings.catch_warnings():
            # The memory of a node is read-only. Trials only read their data; a write would end the process.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
            return torch.from_numpy(self._arrays[pid])


def _restore(content: bytes, arrays: Sequence[np.ndarray[Any, Any]]) -> SharedSplits:
    return SharedSplits(_Unpickler(io.BytesIO(content), arrays).load())
