"""One launch of a Triton kernel."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

WARPS = 4
"""Of 32 threads each; a block of 1024 elements gives every thread two loads of 16 bytes in float32."""


def launch(kernel: Any, programs: int, device: torch.device, *arguments: Any, **constants: Any) -> None:
    """Start so many programs of a kernel on the device's current stream.

    A rule is evaluated as it is written: no product is fused with a sum.
    """
    if programs:
        with on(device):  # Triton launches on the current one
            kernel[(programs,)](*arguments, **constants, num_warps=WARPS, enable_fp_fusion=False)


_READ_BY_GRAPHS: list[torch.Tensor] = []


def upload(words: np.ndarray, device: torch.device) -> torch.Tensor:
    """A vector of int64 on the device: copied in the order of the stream, with no wait.

    The pinned memory that it leaves from goes back to torch's allocator, which hands it out again only once the copy
    is done. A graph would read it anew at every replay: what is captured takes the words along as the arguments of a
    kernel instead.
    """
    if device.type == "cpu":
        return torch.from_numpy(words)
    if is_captured(device):
        landing = torch.zeros(len(words), dtype=torch.int64, device=device)
        torch._foreach_add_(landing.unbind(), words.tolist())  # pyright: ignore[reportPrivateImportUsage]
        return landing
    leaving = torch.empty(len(words), dtype=torch.int64, pin_memory=True)
    leaving.numpy()[:] = words
    return leaving.to(device, non_blocking=True)


def keep_for_graphs(device: torch.device, *tables: torch.Tensor) -> None:
    """Keep tables that a graph captured now will read for as long as the process lives: nobody says when it goes."""
    if is_captured(device):
        _READ_BY_GRAPHS.extend(tables)


def is_captured(device: torch.device) -> bool:
    """Whether what is done on this device now goes into a CUDA graph."""
    if device.type != "cuda":
        return False
    with on(device):
        return torch.cuda.is_current_stream_capturing()


def on(device: torch.device) -> AbstractContextManager[object]:
    """Make a device current; costs nothing where it is."""
    is_current = device.type != "cuda" or device.index == torch.cuda.current_device()
    return nullcontext() if is_current else torch.cuda.device(device)
