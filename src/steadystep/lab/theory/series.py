"""The sum of the geometric series, computed by SymPy."""

from typing import cast

import sympy


def geometric(ratio: sympy.Expr) -> sympy.Expr:
    """Return the sum of ratio^j over j = 0, 1, ..., for a ratio between 0 and 1.

    >>> geometric(sympy.Rational(9, 10))
    10
    """
    r = sympy.Symbol("r", positive=True)
    j = sympy.Symbol("j", integer=True, nonnegative=True)
    series = sympy.summation(r**j, (j, 0, sympy.oo))
    assert isinstance(series, sympy.Piecewise), "SymPy distinguishes where the series converges"
    convergent, condition = series.args[0].args
    assert condition == (r < 1), "the first case is the convergent one"
    return sympy.simplify(cast(sympy.Expr, convergent.subs(r, ratio)))
