"""Find out where Triton runs: on a CUDA device, or, to test the kernels, on a CPU in its interpreter."""

from functools import cache
from importlib.util import find_spec

import torch

OLDEST = (7, 5)
"""The lowest compute capability that Triton compiles for."""


@cache
def why_unavailable(device: torch.device) -> str:
    """Return why Triton cannot handle a tensor on this device, or "" if it can."""
    if device.type not in ("cuda", "cpu"):
        return f"on {device}"
    if find_spec("triton") is None:
        return f"on {device} without the package triton"
    if device.type == "cpu":
        return "" if _interprets() else "on the CPU, where Triton runs only if TRITON_INTERPRET=1 was set before Python"
    if _interprets():  # the interpreter would read the device's addresses as if they were the host's
        return f"on {device} while TRITON_INTERPRET=1 keeps Triton on the CPU"
    capability = torch.cuda.get_device_capability(device)
    return "" if capability >= OLDEST else f"on {device}, whose compute capability is below {OLDEST[0]}.{OLDEST[1]}"


def _interprets() -> bool:
    from triton.runtime.jit import JITFunction

    from steadystep.kernels.cuda import intrinsics

    return not isinstance(intrinsics.widen, JITFunction)
