"""The norms of the gradients of one step, on which every clipping decision is based."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from steadystep.clipping.transforms import Transform, apply_transforms
from steadystep.gradients.gradient_set import GradientSet, local_reals
from steadystep.tracing.graph import Untraceable
from steadystep.tracing.ops import Number, every, largest, norm


@dataclass(frozen=True)
class UnitNorms:
    """The norms of all units of several tensors, tensor after tensor, in float64.

    A unit of a tensor is an index of its first dimension; a tensor of at most one dimension is a single unit.
    """

    norms: Number  # (units,) Euclidean norms
    abs_max: Number  # (units,) largest absolute elements; not finite if an element is not
    counts: tuple[int, ...]  # (tensors,) the number of units of each tensor


MeasureUnits = Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor]], UnitNorms]
"""From this rank's shards of tensors, and the whole tensors, to the norms of their units."""


def no_units(tensors: Sequence[torch.Tensor], wholes: Sequence[torch.Tensor]) -> UnitNorms:
    """Raise Untraceable, because a captured step measures only whole tensors."""
    raise Untraceable("the norms of units are measured outside the graph")


@dataclass(eq=False)
class GradNorms:
    """Per-tensor norms of the gradients of one step, in float64, after `transforms`.

    They are NumPy arrays where every gradient is on a CPU, else tensors on the accelerator, and nothing is read back.
    """

    _norms: Number
    _abs_max: Number
    gradients: GradientSet
    transforms: tuple[Transform, ...] = ()
    measure_units: MeasureUnits = no_units
    _factor: Number = None  # by which all gradients were multiplied since they were measured
    _global_norm: Number = None
    _global_abs_max: Number = None

    @property
    def norms(self) -> Number:
        """(tensors,) the Euclidean norm of each gradient."""
        return self._norms if self._factor is None else self._norms * self._factor

    @property
    def abs_max(self) -> Number:
        """(tensors,) the largest absolute element of each gradient; not finite if any element is not."""
        return self._abs_max if self._factor is None else self._abs_max * self._factor

    @property
    def global_norm(self) -> Number:
        """The Euclidean norm over all tensors, groups and devices."""
        if self._global_norm is None:
            self._global_norm = norm(self.norms)
        return self._global_norm

    @property
    def global_abs_max(self) -> Number:
        """The largest absolute element of all gradients; not finite if any element is not."""
        if self._global_abs_max is None:
            self._global_abs_max = largest(self.abs_max)
        return self._global_abs_max

    def can_be_squared(self) -> Number:
        """Return whether the square of every element is finite in the dtype of the optimizer's moments."""
        limit = self.gradients.square_limit
        if limit is not None:
            return self.global_abs_max <= limit
        return every(self.abs_max <= self.gradients.square_limits)

    @cached_property
    def group_norms(self) -> Number:
        """(tensors,) the norm over all gradients in the parameter group that each tensor belongs to."""
        norms = self.norms + 0.0  # a copy, in which every entry is replaced
        for group in self.gradients.groups:
            norms[group] = norm(self.norms[group])
        return norms

    def unit_norms(self, indices: Sequence[int]) -> UnitNorms:
        """Measure the norms of the units of these gradients, after `transforms`."""
        gradients = self.gradients
        chosen = [apply_transforms(self.transforms, gradients.gradients[index], index) for index in indices]
        return self.measure_units(chosen, [gradients.parameters[index] for index in indices])

    def parameter_unit_norms(self, indices: Sequence[int]) -> UnitNorms:
        """Measure the norms of the units of the parameters that these gradients belong to."""
        parameters = [self.gradients.parameters[index] for index in indices]
        return self.measure_units([local_reals(parameter) for parameter in parameters], parameters)

    def scaled(self, factors: Number, transforms: tuple[Transform, ...]) -> "GradNorms":
        """Return the norms after each gradient is multiplied by its factor, which `transforms` already include."""
        rest = (self.gradients, transforms, self.measure_units)
        if getattr(factors, "ndim", 0):
            return GradNorms(self.norms * factors, self.abs_max * factors, *rest)
        # With one factor for all, the products per tensor are only computed if someone asks for them.
        scaled = (factors, self.global_norm * factors, self.global_abs_max * factors)
        return GradNorms(self.norms, self.abs_max, *rest, *scaled)
