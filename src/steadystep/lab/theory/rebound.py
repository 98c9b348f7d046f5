"""Run the project's own rules on other number types: SymPy expressions for proofs, scalar floats in Numba loops.

The functions of a rule refer to mathematical functions by name only, so binding those names to other functions makes
the same code run over other number types. Code compiled from a rule is not cached on disk, because Numba would not
notice a change in the rule's file.
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


def rebind(function: Callable[..., Any], names: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a function with the same code whose global names are bound to `names`.

    Keyword-only parameters become the last positional parameters.

    >>> from steadystep.optimizers.sgd import PLAIN
    >>> rebind(PLAIN.update, SYMBOLIC)(*sympy.symbols("g p lr"))
    (-g*lr + p,)
    """
    code: CodeType = cast(FunctionType, function).__code__
    # Numba does not support keyword-only parameters. In the code object they already follow the others, in order.
    flat = code.replace(co_argcount=code.co_argcount + code.co_kwonlyargcount, co_kwonlyargcount=0)
    return FunctionType(flat, dict(names), code.co_name)


@lru_cache
def compile_function(function: Callable[..., Any]) -> Any:
    """Compile a function of a rule or a clipper for scalar floats. Division by zero follows IEEE 754."""
    return njit(error_model="numpy")(rebind(function, MACHINE))


@lru_cache
def _step(update: Callable[..., Any], scalars: Callable[..., Any]) -> Any:
    update, scalars = compile_function(update), compile_function(scalars)

    @njit(error_model="numpy")
    def step(t, gradient, state, values):
        return update(*((gradient,) + state + scalars(*((t,) + values))))  # noqa: RUF005  (Numba adds tuples)

    return step


def compile_step(rule: Rule) -> Any:
    """Compile `step(t, gradient, (p, *slots), hyperparameters) -> (p, *slots)` from a rule without clocks."""
    return _step(rule.update, rule.scalars)


def ordered_hyperparameters(rule: Rule, hyperparameters: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the hyperparameters in the order of the arguments of the rule's `scalars`.

    >>> from steadystep.optimizers import Adam
    >>> rule = Adam.rule({"variant": "torch", "amsgrad": False})
    >>> ordered_hyperparameters(rule, {"eps": 1e-8, "lr": 0.1, "beta1": 0.9, "beta2": 0.999})
    (0.1, 0.9, 0.999, 1e-08)
    """
    return tuple(float(hyperparameters[name]) for name in positional(rule.scalars)[1:])


def initial_state(rule: Rule, p: float = 0.0) -> tuple[float, ...]:
    """Return a parameter and its initial state, for a rule whose slots all have numeric initial values."""
    return (float(p), *(float(rule.start.get(slot, 0.0)) for slot in rule.slots))
