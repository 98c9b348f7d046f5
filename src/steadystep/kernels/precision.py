"""The dtypes of kernels, the precision of an update, and the rounding of its result to half precision."""

from functools import cache
from typing import Literal

import torch

Rounding = Literal["nearest", "stochastic", "kahan"]

StateDtype = torch.dtype | Literal["bfloat16"] | None
"""The precision that moments are stored in: bfloat16, or None for that of the update."""

COMPACT = torch.bfloat16
"""The dtype of compact moments: it has the range of float32, and rounding it at random keeps small changes."""

ROUNDING_ERROR = "rounding_error"
"""The state slot of ``"kahan"``: what rounding has taken from each element, in float32."""


_COMPILED_DTYPES = frozenset((torch.float32, torch.float64, torch.bfloat16, torch.float16))


@cache
def is_compiled_dtype(backend: str, dtype: torch.dtype) -> bool:
    """Return whether a compiled backend has kernels for this dtype on this processor."""
    if dtype == torch.float16 and backend == "numba":
        from steadystep.kernels.cpu.intrinsics import HAS_HALF

        return HAS_HALF
    return dtype in _COMPILED_DTYPES


def storage_dtype(parameter: torch.Tensor, state_dtype: str | None) -> torch.dtype:
    """Return the dtype of a parameter's moments; `state_dtype` is that of parameters that are updated in float32."""
    if parameter.is_complex():
        return torch.promote_types(parameter.dtype, torch.complex64)
    precise = math_dtype(parameter)
    return COMPACT if state_dtype is not None and precise == torch.float32 else precise


def math_dtype(tensor: torch.Tensor) -> torch.dtype:
    """Return the dtype that a tensor is updated in, and its state by default: float64 for float64, else float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def flushed(state: torch.Tensor) -> torch.Tensor:
    """Return a new state with 0 in place of every number that is smaller than the smallest normal one.

    A moment without gradients decays into such denormal numbers, with which many processors compute ten times as
    slowly, and rounding keeps it there. 0 is as good an estimate: the difference is below 1.2e-38 in float32.

    >>> flushed(torch.tensor([1e-38, -1e-44, 1.2e-38, 0.5]))
    tensor([0.0000e+00, 0.0000e+00, 1.2000e-38, 5.0000e-01])
    """
    normal = torch.finfo(state.dtype).tiny
    return torch.hardshrink(state, normal * (1.0 - torch.finfo(state.dtype).eps))  # the largest denormal number


def is_compensated(dtype: torch.dtype, rounding: Rounding) -> bool:
    """Return whether the rounding errors of parameters of this dtype are stored."""
    return rounding == "kahan" and dtype in (torch.bfloat16, torch.float16)


def round_to(dtype: torch.dtype, value: torch.Tensor, rounding: Rounding) -> tuple[torch.Tensor, ...]:
    """Round values to the dtype of the parameter or its state; under ``"kahan"`` also return the rounding errors.

    ``"stochastic"`` rounds a bfloat16 up or down with the probability that makes it right on average: random bits are
    added below the last bit of the result, and the rest is cut off. Other dtypes round to nearest.
    """
    if is_compensated(dtype, rounding):
        rounded = value.to(dtype)
        return rounded, value - rounded.to(value.dtype)
    if rounding == "stochastic" and dtype == torch.bfloat16:
        bits = value.float().view(torch.int32)  # float64 where state was converted to bfloat16
        noise = torch.randint_like(bits, 1 << 16)
        cut = (bits + noise) & -(1 << 16)
        # A value that is not finite has no neighbours to choose from, and the largest one has none above it.
        up_or_down = torch.where(torch.isfinite(cut.view(torch.float32)), cut, bits & -(1 << 16)).view(torch.float32)
        return (torch.where(torch.isfinite(value), up_or_down, value).to(dtype),)
    return (value.to(dtype),)
