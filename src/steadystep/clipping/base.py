"""The interface of a clipper: what it decides and what it remembers; and checks of what it is given."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from numbers import Real
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import numpy as np

from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Transform
from steadystep.tracing.ops import Number, isfinite, where

Memory = Mapping[str, Number]
"""A clipper's statistics by name: numbers and NumPy arrays on a CPU, tensors on a device. All float64."""


class Choice(NamedTuple):
    """What a clipper decides about one step."""

    transform: Transform | None  # what to do to the gradients; None leaves them as they are
    clipped: Number  # whether that changes anything
    memory: Memory = MappingProxyType({})  # the statistics if the step is applied; else they stay
    refuse: Number = False  # the step as a whole
    memory_if_refused: Memory = MappingProxyType({})  # the statistics if this clipper refuses it
    update_bound: float | None = None  # the largest root mean square of a tensor's proposed update
    after: GradNorms | None = None  # the sizes that the transform leaves, where the clipper knows them


class Clipper(ABC):
    """Decides from measurements what to do to the gradients. It never changes them, and keeps nothing itself."""

    per_tensor: ClassVar[tuple[str, ...]] = ()  # statistics that have one entry for each tensor of the optimizer

    def start(self, tensors: int) -> dict[str, np.ndarray]:
        """The statistics before the first step, for an optimizer of so many tensors. float64."""
        return {}

    @abstractmethod
    def decide(self, measured: GradNorms, memory: Memory) -> Choice:
        """Choose for this step. A pure function: whether the step is taken is known only afterwards."""


def check_positive(name: str, value: float) -> None:
    """Raise a ValueError if `value` cannot bound anything: a negative bound would turn gradients around."""
    if not (isinstance(value, Real) and not isinstance(value, bool) and value > 0):
        raise ValueError(f"{name} is {value!r}: it must be a number greater than 0 ({math.inf} never clips)")


def check_between(name: str, value: float, low: float, high: float) -> None:
    """Raise a ValueError unless low <= value <= high."""
    if not (isinstance(value, Real) and not isinstance(value, bool) and low <= value <= high):
        raise ValueError(f"{name} is {value!r}: it must be a number in [{low:g}, {high:g}]")


def check_count(name: str, value: int) -> None:
    """Raise a ValueError unless value is a whole number from 1 up."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}: it must be a whole number from 1 up")


def to_limit(norms: Number, limits: Number) -> tuple[Number, Number]:
    """min(1, limit / norm), and whether it is below 1. A non-finite norm gets 1, so does 0."""
    exceeds = isfinite(norms) & (norms > limits)
    return where(exceeds, limits / where(exceeds, norms, 1.0), 1.0), exceeds
