"""Adaptive gradient clipping (Brock et al. 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from steadystep.clipping.clipper import Choice, Clipper, Memory, check_positive
from steadystep.clipping.measured import Measured
from steadystep.clipping.stages import UnitScale
from steadystep.distributed import sharded_within
from steadystep.tensors import Tensors, part


@dataclass(frozen=True, eq=False)
class AGC(Clipper):
    r"""Scale each unit's gradient down to a share of the norm of the unit's weights.

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
        ValueError: if ratio or floor is not greater than 0; in the first step, if a name is given that there is not.

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

    def decide(self, measured: Measured, memory: Memory) -> Choice:
        tensors = measured.tensors
        names, excluded = self._excluded(tensors)
        factors: list[torch.Tensor | None] = []
        clipped: list[torch.Tensor] = []
        for index, parameter in enumerate(tensors.parameters):
            if tensors.names[index] in names or id(parameter) in excluded:
                factors.append(None)
                continue
            bounds = self.ratio * _unit_norms(part(parameter.detach()), parameter).clamp(min=self.floor)
            norms = _unit_norms(measured.gradient(index), parameter)
            exceeds = torch.isfinite(norms) & (norms > bounds)
            factors.append(torch.where(exceeds, bounds / torch.where(exceeds, norms, 1.0), 1.0))
            clipped.append(exceeds.any())
        if not clipped:
            return Choice(None, False)
        home = getattr(measured.norms, "device", "cpu")
        anything = torch.stack([flag.to(home) for flag in clipped]).any()
        return Choice(UnitScale(factors), bool(anything) if home == "cpu" else anything)

    def _excluded(self, tensors: Tensors) -> tuple[set[str], set[int]]:
        names = {one for one in self.exclude if isinstance(one, str)}
        if names and not tensors.named:
            raise ValueError(
                f"AGC excludes {sorted(names)} by name, and the optimizer knows no names: make it from "
                "model.named_parameters(), or exclude the parameters themselves"
            )
        unknown = names - tensors.all_names
        if unknown:
            raise ValueError(
                f"AGC excludes {sorted(unknown)}, and the optimizer has no parameter of that name; it has "
                f"{', '.join(sorted(tensors.all_names))}"
            )
        return names, {id(one) for one in self.exclude if isinstance(one, torch.Tensor)}


def _unit_norms(tensor: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """(units, 1, ..., 1): the norm of each unit, in float64. `tensor` is this rank's part of one like `parameter`."""
    within = list(range(1 if parameter.dim() > 1 else 0, tensor.dim()))
    wide = tensor.double()
    # Divided by its largest element, no unit has a square that overflows or vanishes.
    shape = [1 if dim in within else size for dim, size in enumerate(wide.shape)]
    peaks = wide.abs().amax(within, keepdim=True) if wide.numel() else wide.new_zeros(shape)
    groups = sharded_within(parameter, within)
    for group in groups:
        dist.all_reduce(peaks, dist.ReduceOp.MAX, group=group)
    scales = torch.where((peaks > 0) & torch.isfinite(peaks), peaks, 1.0)
    norms = torch.linalg.vector_norm(wide / scales, dim=within, keepdim=True)
    for group in groups:
        squares = norms.square()
        dist.all_reduce(squares, group=group)
        norms = squares.sqrt()
    return scales * norms
