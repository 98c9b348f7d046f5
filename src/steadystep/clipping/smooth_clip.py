"""Smooth clipping (Zhang et al. 2020)."""

from dataclasses import dataclass

from steadystep.clipping.base import Choice, Clipper, Memory, check_positive
from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Scale
from steadystep.tracing.ops import isfinite, where


@dataclass(frozen=True)
class SmoothClip(Clipper):
    r"""Scale every gradient by a smooth function of its norm so that the norm stays below a bound.

    .. math:: g \leftarrow g \cdot \frac{c}{\lVert g \rVert + c}

    The new norm is less than c, and close to the old norm if that is much smaller than c. The direction is preserved.

    Args:
        max_norm: c, in the unit of the gradient; greater than 0 and finite.

    Raises:
        ValueError: if max_norm is not.

    Source: Zhang, He, Sra & Jadbabaie (2020), "Why gradient clipping accelerates training", section 3, the smooth form
    of clipped gradient descent.

    >>> import torch, steadystep
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> optimizer = steadystep.SGD([weight], lr=1.0, clip=steadystep.SmoothClip(5.0))
    >>> (weight * torch.tensor([3.0, 4.0])).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([-1.5000, -2.0000])
    """

    max_norm: float

    def __post_init__(self) -> None:
        check_positive("max_norm", self.max_norm)
        if not isfinite(self.max_norm):
            raise ValueError("max_norm is inf: SmoothClip needs a finite bound")

    def decide(self, measured: GradNorms, memory: Memory) -> Choice:
        norm = measured.global_norm
        usable = isfinite(norm)
        return Choice(Scale(where(usable, self.max_norm / (where(usable, norm, 0.0) + self.max_norm), 1.0)), norm > 0)
