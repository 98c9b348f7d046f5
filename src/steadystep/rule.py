"""What an update rule is: a pure elementwise function, the state it keeps, and the scalars of a step."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any, Literal, cast

from steadystep.maths import Number


@dataclass(frozen=True)
class Range:
    """The values that a hyperparameter may have."""

    low: float
    high: float = math.inf
    high_is_open: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value and (value < self.high if self.high_is_open else value <= self.high)

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}{')' if self.high_is_open or self.high == math.inf else ']'}"


NON_NEGATIVE = Range(0.0)
DECAY_RATE = Range(0.0, 1.0, high_is_open=True)


@dataclass(frozen=True)
class Rule:
    """An optimizer's equation, written once and run by every backend.

    `update(g, p, *slots, **coefficients) -> (p, *slots)` is elementwise, in the names of `steadystep.maths`. It
    never subtracts hyperparameters: in float32 that would cost digits.
    `scalars(t, **hyperparameters)` gives update's coefficients, in their order, for the t-th counted step
    (t = 1, 2, ...); it is evaluated in float64, once per group and step.
    `slots` names the per-element state as `state_dict` shows it; each starts at 0.
    `decay` says where weight decay enters: into the gradient (``"coupled"``, L2), into the parameter by
    p *= 1 - lr * weight_decay (``"decoupled"``).
    """

    update: Callable[..., tuple[Number, ...]]
    scalars: Callable[..., tuple[Number, ...]]
    slots: tuple[str, ...]
    decay: Literal["coupled", "decoupled"]

    @cached_property
    def _arguments(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        scalars, update = _code(self.scalars), _code(self.update)
        keywords = update.co_varnames[update.co_argcount : update.co_argcount + update.co_kwonlyargcount]
        return scalars.co_varnames[1 : scalars.co_argcount], keywords

    def coefficients(self, t: Number, hyperparameters: Mapping[str, Any]) -> dict[str, Number]:
        """The keyword arguments of `update` for step t."""
        wanted, keywords = self._arguments
        values = self.scalars(t, *(hyperparameters[name] for name in wanted))
        return dict(zip(keywords, values, strict=True))


def _code(function: Callable[..., Any]) -> CodeType:
    return cast(FunctionType, function).__code__
