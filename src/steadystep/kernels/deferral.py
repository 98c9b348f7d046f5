"""How the steps over some tensors are written down as a formula, and then run as a whole."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch

from steadystep.clipping.measured import Measured
from steadystep.clipping.stages import Stage
from steadystep.deferred import CannotDefer, Formula
from steadystep.kernels.passes import Pass
from steadystep.kernels.written import Written
from steadystep.maths import Number
from steadystep.tensors import Tensors


class Deferral(ABC):
    """The steps over some tensors, whose gradients are of one dtype and on one device."""

    def __init__(self, tensors: Tensors, norms: torch.Tensor, largest: torch.Tensor, passes: Sequence[Pass]) -> None:
        self.written: Written | None = None
        self._tensors = tensors
        self._norms, self._largest = norms, largest  # (tensors,) where the gradients' sizes are measured into
        strides = {update.index: update.parameter.stride() for one in passes for update in one.updates}
        self._strides = [strides[index] for index in range(len(tensors.gradients))]
        self._contiguous = all(parameter.is_contiguous() for parameter in tensors.parameters)
        self._scale: torch.Tensor | None = None

    @abstractmethod
    def is_worth_it(self, inputs: Sequence[Any]) -> bool:
        """Whether to defer a step to which Python gives these inputs."""

    @abstractmethod
    def run(self, formula: Formula) -> None:
        """Measure, compute the formula, and do what waits for it.

        Raises:
            CannotDefer: before any of that, for gradients that do not lie as the kernels expect them.
        """

    def measured(self, formula: Formula, stages: Sequence[Stage] = ()) -> Measured:
        """The gradients' sizes, to be measured when the formula is run."""
        if stages:
            raise CannotDefer("gradients are to be measured as clippers leave them")
        norms, peaks = map(formula.vector, (self._norms, self._largest))
        return Measured(norms, peaks, self._tensors)

    def kept(self, formula: Formula, number: Number) -> torch.Tensor:
        """Where a vector of the formula will be."""
        if number is formula.vector(self._norms):
            return self._norms
        place = torch.empty_like(self._norms)
        formula.store(place, number, -1)
        return place

    def at_hand(self, scale: Number) -> Number:
        """A GradScaler's scale where formulas find it at every step: it comes as another tensor each time."""
        if not isinstance(scale, torch.Tensor):
            return scale
        if self._scale is None:
            self._scale = torch.empty_like(scale, device=self._norms.device)
        return self._scale.copy_(scale)

    def keep(self, written: Written) -> None:
        """Run it again, if it can be."""
        self.written = written if written.can_repeat else None

    def _check_layout(self) -> None:
        """Raise CannotDefer unless every gradient lies in memory as its parameter does."""
        tensors = self._tensors
        as_expected = tensors.contiguous if self._contiguous else self._strides == self._found_strides()
        if not as_expected:
            raise CannotDefer("a gradient does not lie as its parameter does")

    def _found_strides(self) -> list[tuple[int, ...]]:
        return list(map(torch.Tensor.stride, self._tensors.gradients))
