"""The base class of clippers, the form of their decisions, and checks of their arguments."""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from numbers import Real
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from steadystep.arguments import refuse_unknown
from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Transform
from steadystep.tracing.ops import Number, isfinite, where

Memory = Mapping[str, Number]
"""A clipper's statistics by name, all float64: numbers and NumPy arrays on a CPU, tensors on an accelerator."""


class Choice(NamedTuple):
    """A clipper's decision about one step."""

    transform: Transform | None  # what to do to the gradients; None leaves them as they are
    clipped: Number  # whether the transform changes anything
    memory: Memory = MappingProxyType({})  # the statistics after the step, if it is applied
    refuse: Number = False  # whether to refuse the whole step
    memory_if_refused: Memory = MappingProxyType({})  # the statistics after the step, if this clipper refuses it
    update_bound: float | None = None  # the largest root mean square of a tensor's proposed update
    after: GradNorms | None = None  # the norms after the transform, if the clipper knows them


class Clipper(ABC):
    """The base class of clippers, which decide from measured norms what to do to the gradients.

    A clipper never changes a gradient and stores nothing itself: its statistics are passed in and returned.
    """

    per_tensor: ClassVar[tuple[str, ...]] = ()  # the statistics that have one entry per tensor of the optimizer

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Refuse an unknown option with a list of those that there are."""
        refuse_unknown(cls.__name__, options, list(inspect.signature(cls.__init__).parameters)[1:])
        return super().__new__(cls)

    def start(self, tensors: int) -> dict[str, np.ndarray]:
        """Return the initial statistics, in float64, for an optimizer with `tensors` tensors."""
        return {}

    @abstractmethod
    def decide(self, measured: GradNorms, memory: Memory) -> Choice:
        """Decide what to do in one step, without side effects: whether the step is applied is only known later."""


def to_limit(norms: Number, limits: Number) -> tuple[Number, Number]:
    """Return min(1, limit / norm), or 1 for a norm that is 0 or not finite, and whether the result is below 1."""
    exceeds = isfinite(norms) & (norms > limits)
    return where(exceeds, limits / where(exceeds, norms, 1.0), 1.0), exceeds


def check_positive(name: str, value: float) -> None:
    """Raise a ValueError unless `value` is greater than 0; a negative bound would reverse gradients."""
    if not (isinstance(value, Real) and not isinstance(value, bool) and value > 0):
        raise ValueError(f"{name} is {value!r}: it must be a number greater than 0 ({math.inf} never clips)")


def check_between(name: str, value: float, low: float, high: float) -> None:
    """Raise a ValueError unless low <= value <= high."""
    if not (isinstance(value, Real) and not isinstance(value, bool) and low <= value <= high):
        raise ValueError(f"{name} is {value!r}: it must be a number in [{low:g}, {high:g}]")


def check_count(name: str, value: int) -> None:
    """Raise a ValueError unless `value` is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}: it must be a whole number from 1 up")
