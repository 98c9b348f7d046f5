"""How an updated value goes back into a parameter of half precision, where many updates are smaller than a digit."""

from typing import Literal

import torch

Rounding = Literal["nearest", "stochastic", "kahan"]

LOST = "rounding_error"
"""The state slot of ``"kahan"``: what rounding has taken from each element, in float32."""


def compensated(dtype: torch.dtype, rounding: Rounding) -> bool:
    """Whether a parameter of this type keeps what rounding takes from it."""
    return rounding == "kahan" and dtype in (torch.bfloat16, torch.float16)


def round_to(dtype: torch.dtype, value: torch.Tensor, rounding: Rounding) -> tuple[torch.Tensor, ...]:
    """A float32 value in the parameter's type; with it, under ``"kahan"``, what was lost.

    ``"stochastic"`` rounds a bfloat16 up or down with the probability that makes it right on average: random bits are
    added below the last one that is kept, and the rest is cut off. Other types round to nearest.
    """
    if compensated(dtype, rounding):
        rounded = value.to(dtype)
        return rounded, value - rounded.to(value.dtype)
    if rounding == "stochastic" and dtype == torch.bfloat16:
        bits = value.view(torch.int32)
        noise = torch.randint_like(bits, 1 << 16)
        cut = (bits + noise) & -(1 << 16)
        # What is not finite has no neighbours to choose from.
        return (torch.where(torch.isfinite(value), cut.view(torch.float32), value).to(dtype),)
    return (value.to(dtype),)
