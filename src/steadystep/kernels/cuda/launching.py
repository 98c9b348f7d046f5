"""One launch of a Triton kernel."""

from typing import Any

import torch

from steadystep.kernels.cuda.uploading import on

WARPS = 4
"""Of 32 threads each; a block of 1024 elements gives every thread two loads of 16 bytes in float32."""


def launch(kernel: Any, programs: int, device: torch.device, *arguments: Any, **constants: Any) -> None:
    """Start so many programs of a kernel on the device's current stream.

    A rule is evaluated as it is written: no product is fused with a sum.
    """
    if programs:
        with on(device):  # Triton launches on the current one
            kernel[(programs,)](*arguments, **constants, num_warps=WARPS, enable_fp_fusion=False)
