"""The memory of a step, compared by one call of a compiled function, ten times as fast as by a call for each property.

It asks torch through its C interface for ahead-of-time compiled models, which is stable across versions. A handle of
that interface stands for the tensor itself, so a later change of the tensor is seen through it. Where torch lacks the
interface, there is `ComparedMemory`.
"""

import ctypes
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from steadystep.disk_cache import compile_and_keep

# Intrinsics take a context that their callers do not pass, of which a type checker knows nothing.
# pyright: reportCallIssue=false

_KIND = ("layout", "device_type", "device_index", "dtype")
_PROPERTIES = (*_KIND, "storage_size", "storage_offset", "dim")
"""What is asked of a tensor before its address, sizes and strides; a sparse one has none of these."""

_WORD = ir.IntType(64)
_IS_NEGATED = torch.Tensor.is_neg


@intrinsic
def _ask(context: Any, function: Any, handle: Any, answer: Any) -> Any:
    """Call a function of the C interface: it stores one property of a tensor at an address, and returns 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [_WORD, _WORD])
        pointer = builder.inttoptr(arguments[0], kind.as_pointer())
        return builder.call(pointer, arguments[1:])

    return types.int32(types.int64, types.int64, types.int64), generate


@intrinsic
def _open(context: Any, function: Any, capsule: Any) -> Any:
    """Call PyCapsule_GetPointer for a capsule without a name."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_WORD, [_WORD, _WORD])
        pointer = builder.inttoptr(arguments[0], kind.as_pointer())
        return builder.call(pointer, [arguments[1], _WORD(0)])

    return types.int64(types.int64, types.int64), generate


@intrinsic
def _word_at(context: Any, address: Any) -> Any:
    """Return the integer at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], _WORD.as_pointer()))

    return types.int64(types.int64), generate


def _compare(functions, written, read, known, cell, addresses):
    """Return -1 if any property differs from the known ones, else whether a tensor that is read has another address.

    Args:
        functions: the addresses of the functions of `_Interface`, in their order.
        written: the handles of tensors that are written, which are kept.
        read: the addresses of the capsules with the handles of the others, which are freed: of further tensors that
            are written, then of those that are read.
        known: the properties of all tensors.
        cell: where the interface stores an answer.
        addresses: of those that are read; replaced by the present ones.
    """
    same, moved, place, answer = True, 0, 0, cell.ctypes.data
    count = len(functions) - 5
    for tensor in range(len(written) + len(read)):
        is_new = tensor >= len(written)
        place_of_read = tensor - (len(written) + len(read) - len(addresses))
        handle = _open(functions[count + 3], read[tensor - len(written)]) if is_new else written[tensor]
        for question in range(count):
            if same:
                cell[0] = 0
                same = _ask(functions[question], handle, answer) == 0 and cell[0] == known[place]
                place += 1
        if same:
            dim = known[place - 1]
            cell[0] = 0
            same = _ask(functions[count], handle, answer) == 0
            if place_of_read >= 0:
                moved |= addresses[place_of_read] != cell[0]
                addresses[place_of_read] = cell[0]
            else:
                same &= cell[0] == known[place]
            same &= _ask(functions[count + 1], handle, answer) == 0
            sizes = cell[0]
            same &= _ask(functions[count + 2], handle, answer) == 0
            strides = cell[0]
            for axis in range(dim):
                size = _word_at(sizes + 8 * axis)
                same &= size == known[place + 1]
                same &= (size == 1) | (_word_at(strides + 8 * axis) == known[place + 2])
                place += 2
            place += 1
        if is_new:
            _ask(functions[count + 4], handle, 0)
    return moved if same else -1


class _Interface(NamedTuple):
    """The functions of torch that are called, by name."""

    functions: np.ndarray
    compare: Callable[..., Any]
    free: Callable[[int], Any]


@cache
def _interface() -> _Interface | None:
    """Return torch's C interface, or None where it is missing."""
    names = [f"aoti_torch_get_{name}" for name in (*_PROPERTIES, "data_ptr", "sizes", "strides")]
    library = _library()
    if library is None or not hasattr(torch._C, "_aoti"):
        return None
    try:
        found = [getattr(library, name) for name in names]
        free = library.aoti_torch_delete_tensor_object
    except AttributeError:
        return None
    free.argtypes, free.restype = [ctypes.c_void_p], ctypes.c_int32
    addresses = [
        ctypes.cast(one, ctypes.c_void_p).value for one in (*found, ctypes.pythonapi.PyCapsule_GetPointer, free)
    ]
    words, table = types.int64[::1], types.int64[::1]
    compare = compile_and_keep(_compare, types.int64(table, words, words, words, words, words))
    return _Interface(np.array(addresses, np.int64), compare, free)


@cache
def _library() -> Any:
    """Return torch's library, which is loaded already."""
    folder = Path(torch.__file__).parent / "lib"
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib", "torch_cpu.dll"):
        if (folder / name).exists():
            return ctypes.CDLL(str(folder / name))
    return None


class NativeMemory:
    """The memory of a step; see `StepMemory`."""

    def __init__(self, interface: _Interface, written: Sequence[torch.Tensor], read: Sequence[torch.Tensor]) -> None:
        self._interface = interface
        # A handle keeps a tensor as it is: parameters, which torch.utils.swap_tensors may change, get new ones.
        self._parameters = [tensor for tensor in written if tensor.requires_grad]
        state = [tensor for tensor in written if not tensor.requires_grad]
        self._capsules = np.zeros(len(self._parameters) + len(read), np.int64)
        self._cell = np.zeros(1, np.int64)
        self._known = _properties([*state, *self._parameters, *read])
        self.addresses, self.moved = np.array([tensor.data_ptr() for tensor in read], np.int64), False
        self._written = np.array(list(map(_opened, _handles(state))), np.int64)
        # The interface cannot be asked for it, and torch takes 0.1 us: the state, which only we replace, is left out.
        self._negated = list(map(_IS_NEGATED, self._parameters))
        weakref.finalize(self, _free_all, interface.free, self._written.tolist())

    def holds(self, read: Sequence[torch.Tensor]) -> bool:
        """Return whether nothing has changed; see `StepMemory.holds`."""
        if list(map(_IS_NEGATED, self._parameters)) != self._negated:
            return False
        capsules = _handles([*self._parameters, *read])
        self._capsules[:] = list(map(id, capsules))
        code = self._interface.compare(
            self._interface.functions, self._written, self._capsules, self._known, self._cell, self.addresses
        )
        self.moved = code == 1
        return code >= 0


def native_memory(written: Sequence[torch.Tensor], read: Sequence[torch.Tensor]) -> NativeMemory | None:
    """Return the memory of a step, or None where torch lacks the interface."""
    interface = _interface()
    return None if interface is None else NativeMemory(interface, written, read)


_handles: Callable[[Sequence[torch.Tensor]], list[Any]] = getattr(
    getattr(torch._C, "_aoti", None), "unsafe_alloc_void_ptrs_from_tensors", list
)


_get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def _opened(capsule: Any) -> int:
    return _get_pointer(capsule, None)


def _free_all(free: Callable[[int], Any], handles: Sequence[int]) -> None:
    for handle in handles:
        free(handle)


def _properties(tensors: Sequence[torch.Tensor]) -> np.ndarray:
    """Return what the compiled function compares, as it gets it: properties, address, and each dimension."""
    kinds: dict[Any, tuple[int, ...]] = {}
    known: list[int] = []
    for tensor in tensors:
        kind = tensor.layout, tensor.device, tensor.dtype
        if kind not in kinds:
            kinds[kind] = _codes(tensor)
        known += kinds[kind]
        known += (tensor.untyped_storage().nbytes(), int(tensor.storage_offset()), tensor.dim(), tensor.data_ptr())
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
            known += (size, stride)
    return np.array(known, np.int64)


def _codes(tensor: torch.Tensor) -> tuple[int, ...]:
    """Return the codes of a tensor's layout, device and dtype in torch's C interface."""
    library, cell = _library(), ctypes.c_int64(0)
    handle = _opened(_handles([tensor])[0])
    codes: list[int] = []
    for name in _KIND:
        cell.value = 0  # an answer can be shorter than the cell
        getattr(library, f"aoti_torch_get_{name}")(ctypes.c_void_p(handle), ctypes.byref(cell))
        codes.append(cell.value)
    library.aoti_torch_delete_tensor_object(handle)
    return tuple(codes)
