"""Clipping by value."""

from dataclasses import dataclass

from steadystep.clipping.base import Choice, Clipper, Memory, check_positive
from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Clamp


@dataclass(frozen=True)
class ClipValue(Clipper):
    r"""Limit every element of the gradient to [-c, c]. The direction of the gradient is not preserved.

    .. math:: g_i \leftarrow \max(-c, \min(c, g_i))

    Args:
        max_value: c, in the unit of the gradient; greater than 0.

    Raises:
        ValueError: if max_value is not greater than 0.

    Source: Mikolov (2012), "Statistical language models based on neural networks", section 3.2.2.

    >>> import torch, steadystep
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> optimizer = steadystep.SGD([weight], lr=1.0, clip=steadystep.ClipValue(0.5))
    >>> (weight * torch.tensor([3.0, 0.25])).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([-0.5000, -0.2500])
    """

    max_value: float

    def __post_init__(self) -> None:
        check_positive("max_value", self.max_value)

    def decide(self, measured: GradNorms, memory: Memory) -> Choice:
        return Choice(Clamp(self.max_value), (measured.abs_max > self.max_value).any())
