"""What one pass over the gradients tells."""

from dataclasses import dataclass
from functools import cached_property

import torch

from steadystep.clipping.transforms import Transform, apply_transforms
from steadystep.gradients.gradient_set import GradientSet
from steadystep.tracing.ops import Number, every, largest, norm


@dataclass(eq=False)
class GradNorms:
    """Per-tensor sizes of the gradients of one step, in float64, as `transforms` leave them.

    NumPy arrays where every tensor is on a CPU, tensors on the device otherwise: then nothing is read back.
    """

    _norms: Number
    _peaks: Number
    tensors: GradientSet
    transforms: tuple[Transform, ...] = ()
    backend: str | None = None  # the one that is forced, by which more is to be measured
    _factor: Number = None  # by which all gradients were multiplied since `_norms` and `_peaks`
    _total: Number = None
    _peak: Number = None

    @property
    def norms(self) -> Number:
        """(tensors,) Euclidean norm of each gradient."""
        return self._norms if self._factor is None else self._norms * self._factor

    @property
    def peaks(self) -> Number:
        """(tensors,) largest absolute element of each gradient; NaN or inf if it has one."""
        return self._peaks if self._factor is None else self._peaks * self._factor

    @property
    def total(self) -> Number:
        """The global norm: over all tensors, groups and devices."""
        if self._total is None:
            self._total = norm(self.norms)
        return self._total

    @property
    def peak(self) -> Number:
        """The largest absolute element of all gradients; NaN or inf if there is one."""
        if self._peak is None:
            self._peak = largest(self.peaks)
        return self._peak

    def can_be_squared(self) -> Number:
        """Whether the square of every element is finite, in the type of its moments."""
        limit = self.tensors.largest_square
        return self.peak <= limit if limit is not None else every(self.peaks <= self.tensors.largest_squares)

    @cached_property
    def group_norms(self) -> Number:
        """(tensors,) the norm of the group that each tensor belongs to."""
        norms = self.norms + 0.0  # a copy, every entry of which is replaced
        for group in self.tensors.groups:
            norms[group] = norm(self.norms[group])
        return norms

    def gradient(self, index: int) -> torch.Tensor:
        """A gradient as the clippers so far leave it."""
        return apply_transforms(self.transforms, self.tensors.gradients[index], index)

    def scaled(self, factors: Number, transforms: tuple[Transform, ...]) -> "GradNorms":
        """The sizes after each gradient was multiplied by its factor, which `transforms` now include."""
        if getattr(factors, "ndim", 0):
            return GradNorms(self.norms * factors, self.peaks * factors, self.tensors, transforms, self.backend)
        # One factor for all: then nothing has to be gone through again, unless it is asked for.
        sizes = (factors, self.total * factors, self.peak * factors)
        return GradNorms(self.norms, self.peaks, self.tensors, transforms, self.backend, *sizes)
