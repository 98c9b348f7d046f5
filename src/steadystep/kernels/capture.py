"""How the steps over some tensors are written down as a formula, and then run as a whole."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import is_
from typing import Any

import torch

from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Transform
from steadystep.gradients.gradient_set import GradientSet
from steadystep.kernels.update import Pass
from steadystep.tracing.graph import Graph, Untraceable
from steadystep.tracing.ops import Number


def are_same(inputs: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether two steps are given the same objects."""
    return len(inputs) == len(others) and all(map(is_, inputs, others))


@dataclass
class Written:
    """The formula of a step, to be run again as long as what Python gave to it stays the same."""

    formula: Graph
    norms: torch.Tensor  # of the gradients, once the formula is run
    inputs: Sequence[Any]

    @cached_property
    def can_repeat(self) -> bool:
        """Whether the inputs can only change by becoming other objects, or at an address that the formula reads."""
        return bool(self.inputs) and all(map(self._is_fixed, self.inputs))

    def holds(self, inputs: Sequence[Any]) -> bool:
        """Whether these are the same objects."""
        return are_same(inputs, self.inputs)

    def _is_fixed(self, value: Any) -> bool:
        if isinstance(value, torch.Tensor):
            return any(value is tensor for tensor in self.formula.tensors)
        if isinstance(value, tuple):
            return all(map(self._is_fixed, value))
        made = getattr(value, "__dataclass_params__", None)
        return (made is not None and made.frozen) or isinstance(value, float | int | str | None)


class CapturedStep(ABC):
    """The steps over some tensors, whose gradients are of one dtype and on one device."""

    def __init__(
        self, tensors: GradientSet, norms: torch.Tensor, largest: torch.Tensor, passes: Sequence[Pass]
    ) -> None:
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
    def run(self, formula: Graph) -> None:
        """Measure, compute the formula, and do what waits for it.

        Raises:
            Untraceable: before any of that, for gradients that do not lie as the kernels expect them.
        """

    def measured(self, formula: Graph, transforms: Sequence[Transform] = ()) -> GradNorms:
        """The gradients' sizes, to be measured when the formula is run."""
        if transforms:
            raise Untraceable("gradients are to be measured as clippers leave them")
        norms, peaks = map(formula.vector, (self._norms, self._largest))
        return GradNorms(norms, peaks, self._tensors)

    def kept(self, formula: Graph, number: Number) -> torch.Tensor:
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
        """Raise Untraceable unless every gradient lies in memory as its parameter does."""
        tensors = self._tensors
        as_expected = tensors.contiguous if self._contiguous else self._strides == self._found_strides()
        if not as_expected:
            raise Untraceable("a gradient does not lie as its parameter does")

    def _found_strides(self) -> list[tuple[int, ...]]:
        return list(map(torch.Tensor.stride, self._tensors.gradients))
