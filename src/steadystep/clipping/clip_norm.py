"""Clipping by norm (Pascanu, Mikolov & Bengio 2013)."""

from dataclasses import dataclass
from typing import Literal, get_args

from steadystep.clipping.base import Choice, Clipper, Memory, check_positive, to_limit
from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Scale
from steadystep.tracing.ops import Number

Scope = Literal["global", "group", "parameter"]


@dataclass(frozen=True)
class ClipNorm(Clipper):
    r"""Scale the gradient down to a maximum Euclidean norm, keeping its direction.

    .. math:: g \leftarrow g \cdot \min(1, c / \lVert g \rVert)

    Exact: nothing is added to the denominator, a zero gradient stays zero, and a gradient within the bound is not
    touched. A non-finite norm clips nothing: whether that step is taken is the guard's decision.

    Args:
        max_norm: c, in the unit of the gradient; greater than 0. ``math.inf`` measures and never clips.
        scope: over what the norm is taken: ``"global"`` (default), all gradients of the optimizer together, over
            all groups and devices; ``"group"``, those of a parameter group; ``"parameter"``, each tensor alone.

    Raises:
        ValueError: if max_norm is not greater than 0 or the scope is unknown.

    Source: Pascanu, Mikolov & Bengio (2013), "On the difficulty of training recurrent neural networks",
    Algorithm 1.

    >>> import torch, steadystep
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> optimizer = steadystep.SGD([weight], lr=1.0, clip=steadystep.ClipNorm(1.0))
    >>> (weight * torch.tensor([3.0, 4.0])).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([-0.6000, -0.8000])
    """

    max_norm: float
    scope: Scope = "global"

    def __post_init__(self) -> None:
        check_positive("max_norm", self.max_norm)
        if self.scope not in get_args(Scope):
            raise ValueError(f"scope is {self.scope!r}: it must be one of {', '.join(get_args(Scope))}")

    def decide(self, measured: GradNorms, memory: Memory) -> Choice:
        factors, exceeds = to_limit(self._norms(measured), self.max_norm)
        return Choice(Scale(factors), exceeds if self.scope == "global" else exceeds.any())

    def _norms(self, measured: GradNorms) -> Number:
        match self.scope:
            case "global":
                return measured.global_norm
            case "group":
                return measured.group_norms
            case "parameter":
                return measured.norms
