"""Launch Triton kernels and copy small tables to a device without waiting for it, even during CUDA graph capture."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

WARPS = 4
"""Warps of 32 threads; for a block of 1024 float32 elements every thread does two loads of 16 bytes."""

_READ_BY_CUDA_GRAPHS: list[torch.Tensor] = []


def launch(kernel: Any, programs: int, device: torch.device, *arguments: Any, **constants: Any) -> None:
    """Launch a kernel with the given number of programs on the current stream of the device.

    A rule is evaluated as it is written: no product is fused with a sum.
    """
    if programs:
        with on(device):  # Triton launches on the current device
            kernel[(programs,)](*arguments, **constants, num_warps=WARPS, enable_fp_fusion=False)


def upload(table: np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy a vector of int64 to the device, in stream order and without waiting.

    The pinned memory of the copy returns to torch's allocator, which reuses it only once the copy is done. A CUDA graph
    would read that memory again at every replay: under capture the numbers are passed as arguments of a kernel instead.
    """
    if device.type == "cpu":
        return torch.from_numpy(table)
    if is_captured(device):
        landing = torch.zeros(len(table), dtype=torch.int64, device=device)
        torch._foreach_add_(landing.unbind(), table.tolist())  # pyright: ignore[reportPrivateImportUsage]
        return landing
    pinned = torch.empty(len(table), dtype=torch.int64, pin_memory=True, device="cpu")
    pinned.numpy()[:] = table
    return pinned.to(device, non_blocking=True)


def retain_for_cuda_graphs(device: torch.device, *tables: torch.Tensor) -> None:
    """Keep tables that a CUDA graph under capture reads alive for good, since its destruction cannot be observed."""
    if is_captured(device):
        _READ_BY_CUDA_GRAPHS.extend(tables)


def is_captured(device: torch.device) -> bool:
    """Return whether work on this device is being captured into a CUDA graph."""
    if device.type != "cuda":
        return False
    with on(device):
        return torch.cuda.is_current_stream_capturing()


def on(device: torch.device) -> AbstractContextManager[object]:
    """Make a device the current one, at no cost if it already is."""
    is_current = device.type != "cuda" or device.index == torch.cuda.current_device()
    return nullcontext() if is_current else torch.cuda.device(device)
