"""Runs that leave their pages by one byte on purpose, and one that does not: they test the cases' own guard."""

import ctypes

import torch

from memory.guarded_pages import Pages


def inside(pages: Pages) -> None:
    """Read the first byte of a tensor, and write it to the last."""
    held = pages.hold(torch.ones(3))
    ctypes.memset(held.data_ptr() + 11, ctypes.string_at(held.data_ptr(), 1)[0], 1)


def reads_before(pages: Pages) -> None:
    """Read the byte before the first."""
    ctypes.string_at(pages.hold(torch.ones(3)).data_ptr() - 1, 1)


def writes_after(pages: Pages) -> None:
    """Write the byte after the last."""
    ctypes.memset(pages.hold(torch.ones(3)).data_ptr() + 12, 0, 1)
