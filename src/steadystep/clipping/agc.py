"""Adaptive gradient clipping (Brock et al. 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from steadystep.clipping.base import Choice, Clipper, Memory, check_positive, to_limit
from steadystep.clipping.norms import GradNorms, UnitNorms
from steadystep.clipping.transforms import UnitScale
from steadystep.gradients.gradient_set import GradientSet
from steadystep.tracing.ops import largest_of_parts, maximum, norms_of_parts


@dataclass(frozen=True, eq=False)
class AGC(Clipper):
    r"""Scale each unit's gradient down to at most a fraction of the norm of the unit's weights.

    .. math::
        g_u \leftarrow g_u \cdot \lambda \frac{\max(\lVert w_u \rVert, \epsilon)}{\lVert g_u \rVert}
        \quad\text{if}\quad \lVert g_u \rVert > \lambda \max(\lVert w_u \rVert, \epsilon)

    A unit is an index of a weight's first dimension (torch's layout: an output feature); a tensor of one dimension or
    none is one unit. The floor \epsilon lets parameters that start at zero move. The usual exclusion is the last
    linear layer.

    Args:
        ratio: \lambda, greater than 0. Default 0.01.
        exclude: parameters that are not clipped, themselves or by name; names need an optimizer made from
            ``model.named_parameters()``. Default none.
        floor: \epsilon, greater than 0. Default 1e-3.

    Raises:
        TypeError: if `exclude` is a single name or parameter.
        ValueError: if ratio or floor is not greater than 0; in the first step, if `exclude` has an unknown name.

    Source: Brock, De, Smith & Simonyan (2021), "High-performance large-scale image recognition without normalization",
    equation 3.

    >>> import torch, steadystep
    >>> weight = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    >>> optimizer = steadystep.SGD([weight], lr=1.0, clip=steadystep.AGC(0.1))
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([[ 2.6464e+00,  3.6464e+00],
            [-7.0711e-05, -7.0711e-05]])
    """

    ratio: float = 0.01
    exclude: Sequence[str | torch.Tensor] = ()
    floor: float = 1e-3

    def __post_init__(self) -> None:
        check_positive("ratio", self.ratio)
        check_positive("floor", self.floor)
        if isinstance(self.exclude, str | torch.Tensor):
            raise TypeError(f"exclude is {self.exclude!r}: give a list of names or parameters, such as ['fc.weight']")

    def decide(self, measured: GradNorms, memory: Memory) -> Choice:
        gradients = measured.gradients
        names, excluded = self._excluded(gradients)
        chosen = [
            index
            for index, (*known_as, parameter) in enumerate(
                zip(gradients.names, gradients.given_names, gradients.parameters, strict=True)
            )
            if names.isdisjoint(known_as) and id(parameter) not in excluded
        ]
        if not chosen:
            return Choice(None, False)
        weights, units = measured.parameter_unit_norms(chosen), measured.unit_norms(chosen)
        factors, exceeds = to_limit(units.norms, self.ratio * maximum(weights.norms, self.floor))
        ends = np.cumsum([0, *units.counts]).tolist()
        spans: list[slice | None] = [None] * len(gradients.parameters)
        for index, start, end in zip(chosen, ends, ends[1:], strict=False):
            spans[index] = slice(start, end)
        transform = UnitScale(factors, spans)
        after = None if gradients.sharded else _norms_after(measured, transform, units)
        return Choice(transform, exceeds.any(), after=after)

    def _excluded(self, gradients: GradientSet) -> tuple[set[str], set[int]]:
        names = {one for one in self.exclude if isinstance(one, str)}
        if names and not gradients.named:
            raise ValueError(
                f"AGC excludes {sorted(names)} by name, and the optimizer knows no names: make it from "
                "model.named_parameters(), or exclude the parameters themselves"
            )
        unknown = names - gradients.all_names
        if unknown:
            raise ValueError(
                f"AGC excludes {sorted(unknown)}, and the optimizer has no parameter of that name; it has "
                f"{', '.join(sorted(gradients.all_names))}"
            )
        return names, {id(one) for one in self.exclude if isinstance(one, torch.Tensor)}


def _norms_after(measured: GradNorms, transform: UnitScale, units: UnitNorms) -> GradNorms:
    """Compute the norms of whole tensors after scaling unit by unit, from the norms of their units."""
    norms, abs_max = measured.norms + 0.0, measured.abs_max + 0.0
    scaled = [index for index, span in enumerate(transform.spans) if span is not None]
    norms[scaled] = norms_of_parts(transform.factors * units.norms, units.counts)
    abs_max[scaled] = largest_of_parts(transform.factors * units.abs_max, units.counts)
    transforms = (*measured.transforms, transform)
    return GradNorms(norms, abs_max, measured.gradients, transforms, measured.measure_units)
