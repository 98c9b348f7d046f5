"""The project's own rules over other numbers: SymPy's for a proof, machine floats for loops that Numba compiles.

A rule's functions know mathematics by name only, so the same code runs over whatever those names are bound to.
Nothing compiled from a rule is kept on disk: Numba would not notice that another file has changed.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, cast

import sympy
from numba import njit

from steadystep.rule import Rule, positional


@njit
def _where(condition, yes, no):
    return yes if condition else no


@njit
def _minimum(x, y):
    return x if x <= y or x != x else y


@njit
def _maximum(x, y):
    return x if x >= y or x != x else y


@njit
def _sign(x):
    return x if x != x else (x > 0.0) * 1.0 - (x < 0.0) * 1.0


MACHINE = {
    "sqrt": math.sqrt,
    "where": _where,
    "abs": abs,
    "sign": _sign,
    "minimum": _minimum,
    "maximum": _maximum,
    "isfinite": math.isfinite,
}

SYMBOLIC = {
    "sqrt": sympy.sqrt,
    "where": lambda condition, yes, no: sympy.Piecewise((yes, condition), (no, True)),
    "abs": sympy.Abs,
    "sign": sympy.sign,
    "minimum": sympy.Min,
    "maximum": sympy.Max,
}


def rebound(function: Callable[..., Any], names: Mapping[str, Any]) -> Callable[..., Any]:
    """The same code with its mathematics bound to `names`. Keyword-only parameters become the last positional ones.

    >>> from steadystep.optimizers.sgd import PLAIN
    >>> rebound(PLAIN.update, SYMBOLIC)(*sympy.symbols("g p lr"))
    (-g*lr + p,)
    """
    code: CodeType = cast(FunctionType, function).__code__
    # Numba knows no keyword-only parameters; they already stand in order behind the others.
    flat = code.replace(co_argcount=code.co_argcount + code.co_kwonlyargcount, co_kwonlyargcount=0)
    return FunctionType(flat, dict(names), code.co_name)


@lru_cache
def machine(function: Callable[..., Any]) -> Any:
    """A function of a rule or a clipper, compiled for scalars. Division by zero gives what IEEE 754 says."""
    return njit(error_model="numpy")(rebound(function, MACHINE))


@lru_cache
def _step(update: Callable[..., Any], scalars: Callable[..., Any]) -> Any:
    update, scalars = machine(update), machine(scalars)

    @njit(error_model="numpy")
    def step(t, gradient, state, values):
        return update(*((gradient,) + state + scalars(*((t,) + values))))  # noqa: RUF005  (Numba adds tuples)

    return step


def compiled(rule: Rule) -> Any:
    """`step(t, gradient, (p, *slots), hyperparameters) -> (p, *slots)` as machine code, of a rule without clocks."""
    return _step(rule.update, rule.scalars)


def values(rule: Rule, hyperparameters: Mapping[str, Any]) -> tuple[float, ...]:
    """Hyperparameters in the order in which the rule's `scalars` takes them.

    >>> from steadystep.optimizers import Adam
    >>> rule = Adam.rule({"variant": "torch", "amsgrad": False})
    >>> values(rule, {"eps": 1e-8, "lr": 0.1, "beta1": 0.9, "beta2": 0.999})
    (0.1, 0.9, 0.999, 1e-08)
    """
    return tuple(float(hyperparameters[name]) for name in positional(rule.scalars)[1:])


def start(rule: Rule, p: float = 0.0) -> tuple[float, ...]:
    """A parameter and its state before the first step, of a rule whose slots start at numbers."""
    return (float(p), *(float(rule.start.get(slot, 0.0)) for slot in rule.slots))
