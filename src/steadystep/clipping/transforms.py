"""The transforms by which clippers change gradients; a backend applies them while it reads the gradients."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from steadystep.tracing.ops import Number


@dataclass(frozen=True)
class Scale:
    """Multiply the gradients by a factor in [0, 1], either one for all or one per tensor."""

    factors: Number

    def __call__(self, gradient: torch.Tensor, index: int) -> torch.Tensor:
        factor = self.factors[index] if getattr(self.factors, "ndim", 0) else self.factors
        if isinstance(factor, torch.Tensor):
            # Multiplied twice by the root: a factor of 1e-40 is not a normal float32 number, but its root is.
            root = factor.sqrt().to(gradient.device, gradient.dtype)
            return gradient * root * root
        if factor == 1.0:
            return gradient
        if factor < 1e-30:
            return (gradient.double() * float(factor)).to(gradient.dtype)
        return gradient * float(factor)


@dataclass(frozen=True)
class UnitScale:
    """Multiply each unit of a gradient (the slice at one index of its first dimension) by its own factor."""

    factors: Number  # (units,) of all tensors that are scaled
    spans: Sequence[slice | None]  # the factors of each tensor; None for a tensor that is not scaled

    def __call__(self, gradient: torch.Tensor, index: int) -> torch.Tensor:
        span = self.spans[index]
        if span is None:
            return gradient
        factors = self.factors[span]
        if not isinstance(factors, torch.Tensor):
            factors = torch.from_numpy(factors)  # torch.as_tensor would move it to the default device
        factors = factors.to(gradient.device, gradient.dtype)
        # A shard may have no unit; a scalar is one unit without a dimension.
        return gradient * (factors.reshape([]) if len(factors) == 1 else factors.view(-1, *[1] * (gradient.dim() - 1)))


@dataclass(frozen=True)
class Clamp:
    """Limit every element to [-bound, bound]. NaN stays NaN."""

    bound: float

    def __call__(self, gradient: torch.Tensor, index: int) -> torch.Tensor:
        return gradient.clamp(-self.bound, self.bound)


Transform = Scale | UnitScale | Clamp


HALF = (torch.float16, torch.bfloat16)


def apply_transforms(transforms: Sequence[Transform], gradient: torch.Tensor, index: int) -> torch.Tensor:
    """Apply all transforms to the gradient at `index`, in float32 if it is in half precision.

    The result then stays in float32. Without transforms the gradient is returned as it is.
    """
    if transforms and gradient.dtype in HALF:
        gradient = gradient.float()
    for transform in transforms:
        gradient = transform(gradient, index)
    return gradient
