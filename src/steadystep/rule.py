"""Update rules: each has a pure elementwise function, the state that it needs, and the scalars of a step."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import FunctionType
from typing import Any, Literal, cast

from steadystep.elementwise import check_elementwise
from steadystep.tracing.ops import Number


@dataclass(frozen=True)
class Range:
    """The values that a hyperparameter may have."""

    low: float
    high: float = math.inf
    high_is_open: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value < self.high or (value == self.high and not self._open)

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}{')' if self._open else ']'}"

    @property
    def _open(self) -> bool:
        return self.high_is_open or self.high == math.inf


STEP = "step"
"""The name of a parameter's count of steps, in its state and among the hyperparameters of a step."""

NON_NEGATIVE = Range(0.0)
DECAY_RATE = Range(0.0, 1.0, high_is_open=True)


Decay = Literal["coupled", "decoupled", "independent", "within"]


@dataclass(frozen=True)
class Rule:
    """An optimizer's equation, written once and used by every backend.

    Attributes:
        update: ``update(g, p, *slots, **coefficients) -> (p, *slots)``, elementwise, in the operations of
            `steadystep.tracing.ops`. It never subtracts hyperparameters: in float32 that would cost digits.
        scalars: ``scalars(t, *hyperparameters, *counters)`` returns the coefficients of `update`, in their order, for
            the t-th step (t = 1, 2, ...). It is evaluated in float64, once per group and step.
        slots: the names of the per-element state, as `state_dict` shows them.
        decay: where weight decay enters: into the gradient (``"coupled"``, L2); into the parameter, by
            p *= 1 - lr * weight_decay (``"decoupled"``) or p *= 1 - lr / base_lr * weight_decay (``"independent"``); or
            ``"within"`` the update, which then takes it as a coefficient.
        start: the start value of slots that do not start at 0: a number, or the name of a hyperparameter.
        counters: the names of scalars that all elements share, like the step count. Each starts at 1.
        advance: ``advance(t, *hyperparameters, *counters) -> counters``, evaluated before `scalars`.
        sums: for rules that scale the step of a whole tensor: with the arguments of `update` except those of `factors`,
            it returns elementwise terms, each of which a backend adds up over the tensor, in float64 or, within a
            block, in the precision of the update.
        factors: ``factors(count, *hyperparameters, *totals)`` turns these totals into `update`'s last coefficients.

    Raises:
        ValueError: if `update` or `sums` is not elementwise, naming what it uses.
    """

    update: Callable[..., tuple[Number, ...]]
    scalars: Callable[..., tuple[Number, ...]]
    slots: tuple[str, ...]
    decay: Decay
    start: Mapping[str, float | str] = field(default_factory=dict)
    counters: tuple[str, ...] = ()
    advance: Callable[..., tuple[Number, ...]] | None = None
    sums: Callable[..., tuple[Number, ...]] | None = None
    factors: Callable[..., tuple[Number, ...]] | None = None

    def __post_init__(self) -> None:
        check_elementwise(self.update)
        if self.sums is not None:
            check_elementwise(self.sums)

    @property
    def needs_base_lr(self) -> bool:
        """Whether the rule compares the learning rate with its initial value."""
        return self.decay == "independent" or "base_lr" in positional(self.scalars)

    def coefficients(self, t: Number, values: Mapping[str, Any]) -> dict[str, Number]:
        """Return the keyword arguments of `update` for step t, except those of `factors`."""
        scalars = self.scalars(t, *[values[name] for name in self._inputs])
        return dict(zip(self._outputs, scalars, strict=True))

    def tensor_factors(self, count: Number, values: Mapping[str, Any], totals: Sequence[Number]) -> dict[str, Number]:
        """Return the keyword arguments of `update` that depend on sums over the whole tensor."""
        assert self.factors is not None, "only a rule with sums has factors"
        names = positional(self.factors)[1 : -len(totals)]
        factors = self.factors(count, *(values[name] for name in names), *totals)
        return dict(zip(keywords(self.update)[-len(factors) :], factors, strict=True))

    def advanced(self, t: Number, values: Mapping[str, Any]) -> dict[str, Number]:
        """Return the values of the counters after step t."""
        if self.advance is None:
            return {}
        counters = self.advance(t, *(values[name] for name in positional(self.advance)[1:]))
        return dict(zip(self.counters, counters, strict=True))

    @cached_property
    def _inputs(self) -> tuple[str, ...]:
        return positional(self.scalars)[1:]

    @cached_property
    def _outputs(self) -> tuple[str, ...]:
        return keywords(self.update if self.sums is None else self.sums)


@cache
def positional(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of a function's positional parameters."""
    code = cast(FunctionType, function).__code__
    return code.co_varnames[: code.co_argcount]


@cache
def keywords(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of a function's keyword-only parameters."""
    code = cast(FunctionType, function).__code__
    return code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
