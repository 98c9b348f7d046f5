"""What one pass over the gradients tells."""

from dataclasses import dataclass
from functools import cached_property

import torch

from steadystep.clipping.stages import Stage, through
from steadystep.maths import Number, norm
from steadystep.tensors import Tensors


@dataclass(eq=False)
class Measured:
    """Per-tensor sizes of the gradients of one step, in float64, as `stages` leave them.

    NumPy arrays where every tensor is on a CPU, tensors on the device otherwise: then nothing is read back.
    """

    norms: Number  # (tensors,) Euclidean norm of each gradient
    peaks: Number  # (tensors,) largest absolute element of each; NaN or inf if the gradient has one
    tensors: Tensors
    stages: tuple[Stage, ...] = ()
    backend: str | None = None  # the one that is forced, by which more is to be measured

    _total: Number = None

    @property
    def total(self) -> Number:
        """The global norm: over all tensors, groups and devices."""
        if self._total is None:
            self._total = norm(self.norms)
        return self._total

    @cached_property
    def of_groups(self) -> Number:
        """(tensors,) the norm of the group that each tensor belongs to."""
        norms = self.norms + 0.0  # a copy, every entry of which is replaced
        for group in self.tensors.groups:
            norms[group] = norm(self.norms[group])
        return norms

    def gradient(self, index: int) -> torch.Tensor:
        """A gradient as the clippers so far leave it."""
        return through(self.stages, self.tensors.gradients[index], index)

    def scaled(self, factors: Number, stages: tuple[Stage, ...]) -> "Measured":
        """The sizes after each gradient was multiplied by its factor, which `stages` now include."""
        # One factor for all: then the global norm needs no second sum.
        total = None if getattr(factors, "ndim", 0) else self.total * factors
        return Measured(self.norms * factors, self.peaks * factors, self.tensors, stages, self.backend, total)
