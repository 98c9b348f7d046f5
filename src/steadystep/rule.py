"""What an update rule is: a pure elementwise function, the state it keeps, and the scalars of a step."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import FunctionType
from typing import Any, Literal, cast

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


NON_NEGATIVE = Range(0.0)
DECAY_RATE = Range(0.0, 1.0, high_is_open=True)


Decay = Literal["coupled", "decoupled", "independent", "within"]


@dataclass(frozen=True)
class Rule:
    """An optimizer's equation, written once and run by every backend.

    `update(g, p, *slots, **coefficients) -> (p, *slots)` is elementwise, in the names of `steadystep.tracing.ops`. It
    never subtracts hyperparameters: in float32 that would cost digits.

    `scalars(t, *hyperparameters, *clocks)` gives update's coefficients, in their order, for the t-th counted step
    (t = 1, 2, ...); it is evaluated in float64, once per group and step.

    `slots` names the per-element state as `state_dict` shows it. `start` says where a slot starts if not at 0: at a
    number, or at the hyperparameter of that name.

    `decay` says where weight decay enters: into the gradient (``"coupled"``, L2); into the parameter by
    p *= 1 - lr * weight_decay (``"decoupled"``) or p *= 1 - lr / base_lr * weight_decay (``"independent"``); or
    ``"within"`` the update, which then takes it as a coefficient.

    `clocks` names scalars that, like the step count, all elements share; each starts at 1 and is advanced by
    `advance(t, *hyperparameters, *clocks) -> clocks` before `scalars` sees it.

    Some rules scale a tensor's whole step by a size of the tensor. `sums`, with update's arguments except those of
    `factors`, gives elementwise terms; a backend adds each up over the tensor in float64, and
    `factors(count, *hyperparameters, *totals)` makes of them the last coefficients of `update`.
    """

    update: Callable[..., tuple[Number, ...]]
    scalars: Callable[..., tuple[Number, ...]]
    slots: tuple[str, ...]
    decay: Decay
    start: Mapping[str, float | str] = field(default_factory=dict)
    clocks: tuple[str, ...] = ()
    advance: Callable[..., tuple[Number, ...]] | None = None
    sums: Callable[..., tuple[Number, ...]] | None = None
    factors: Callable[..., tuple[Number, ...]] | None = None

    @property
    def needs_base_lr(self) -> bool:
        """Whether the rule asks how large the learning rate is beside the first one."""
        return self.decay == "independent" or "base_lr" in positional(self.scalars)

    def coefficients(self, t: Number, values: Mapping[str, Any]) -> dict[str, Number]:
        """The keyword arguments of `update` for step t, but for those of `factors`."""
        given = self.scalars(t, *[values[name] for name in self._inputs])
        return dict(zip(self._outputs, given, strict=True))

    def tensor_factors(self, count: Number, values: Mapping[str, Any], totals: Sequence[Number]) -> dict[str, Number]:
        """The keyword arguments of `update` that depend on the whole tensor."""
        assert self.factors is not None, "only a rule with sums has factors"
        names = positional(self.factors)[1 : -len(totals)]
        factors = self.factors(count, *(values[name] for name in names), *totals)
        return dict(zip(keywords(self.update)[-len(factors) :], factors, strict=True))

    def advanced(self, t: Number, values: Mapping[str, Any]) -> dict[str, Number]:
        """The clocks after step t."""
        if self.advance is None:
            return {}
        return dict(
            zip(self.clocks, self.advance(t, *(values[name] for name in positional(self.advance)[1:])), strict=True)
        )

    @cached_property
    def _inputs(self) -> tuple[str, ...]:
        return positional(self.scalars)[1:]

    @cached_property
    def _outputs(self) -> tuple[str, ...]:
        return keywords(self.update if self.sums is None else self.sums)


@cache
def positional(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's positional parameters."""
    code = cast(FunctionType, function).__code__
    return code.co_varnames[: code.co_argcount]


@cache
def keywords(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's keyword-only parameters."""
    code = cast(FunctionType, function).__code__
    return code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
