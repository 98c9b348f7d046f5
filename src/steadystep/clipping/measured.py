"""What one pass over the gradients tells."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from steadystep.maths import Number, norm


@dataclass(frozen=True)
class Measured:
    """Per-tensor sizes of the gradients of one step, in float64.

    NumPy arrays where every tensor is on a CPU, tensors on the device otherwise: then nothing is read back.
    """

    norms: Number  # (tensors,) Euclidean norm of each gradient
    peaks: Number  # (tensors,) largest absolute element of each; NaN or inf if the gradient has one
    groups: Sequence[slice]  # which tensors make up each parameter group

    @cached_property
    def total(self) -> Number:
        """The global norm: over all tensors, groups and devices."""
        return norm(self.norms)

    @cached_property
    def of_groups(self) -> Number:
        """(tensors,) the norm of the group that each tensor belongs to."""
        norms = self.norms + 0.0  # a copy, every entry of which is replaced
        for group in self.groups:
            norms[group] = norm(self.norms[group])
        return norms

    def scaled(self, factors: Number) -> "Measured":
        """The sizes after each gradient was multiplied by its factor."""
        return replace(self, norms=self.norms * factors, peaks=self.peaks * factors)
