"""Memory between two pages that nobody may touch: one byte read or written outside ends the process."""

import ctypes
import mmap
from collections.abc import Sequence
from typing import Literal

import torch

Place = Literal["start", "end"]
"""Which end of a tensor adjoins an inaccessible page exactly; at the other end there may be some bytes of slack."""

PLACES: tuple[Place, ...] = ("start", "end")

_NO_ACCESS = 0
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class Pages:
    """Holds copies of tensors on pages of their own, until it is closed.

    Args:
        place: where in its pages each tensor lies.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._mapped: list[tuple[int, int]] = []

    def __enter__(self) -> "Pages":
        return self

    def __exit__(self, *_: object) -> None:
        # The kernel has only so many mappings for a process. Whoever still reads a tensor from here dies, too.
        while self._mapped:
            _libc.munmap(*self._mapped.pop())

    def hold(self, tensor: torch.Tensor, order: Sequence[int] | None = None) -> torch.Tensor:
        """Return a copy of a tensor on guarded pages.

        Args:
            tensor: what to copy; it has at least one element.
            order: the dimensions from the slowest to the fastest in memory. Default None, that of the tensor.
        """
        order = range(tensor.dim()) if order is None else order
        shape = [tensor.shape[dim] for dim in order]
        back = [order.index(dim) for dim in range(tensor.dim())]
        flat = self._bytes(tensor.numel() * tensor.itemsize).view(tensor.dtype)
        held = flat.view(shape).permute(back)
        return held.copy_(tensor.detach())

    def _bytes(self, count: int) -> torch.Tensor:
        """Return this many bytes, as uint8, between two pages without access."""
        page = mmap.PAGESIZE
        inside = -(-count // page) * page
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        base = _libc.mmap(None, inside + 2 * page, mmap.PROT_READ | mmap.PROT_WRITE, private, -1, 0)
        if base in (None, _FAILED):
            raise MemoryError(f"mmap failed with errno {ctypes.get_errno()}")
        self._mapped.append((base, inside + 2 * page))
        for guard in (base, base + page + inside):
            if _libc.mprotect(guard, page, _NO_ACCESS):
                raise MemoryError(f"mprotect failed with errno {ctypes.get_errno()}")
        start = base + page + (inside - count if self._place == "end" else 0)
        return torch.frombuffer((ctypes.c_char * count).from_address(start), dtype=torch.uint8)
