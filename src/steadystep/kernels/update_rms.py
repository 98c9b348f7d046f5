"""The root mean square of an update, which ClipUpdate bounds, computed alike in every backend.

The rule is evaluated in float64, and from 0 where it only adds to the parameter: in float32, p - (p - u) is mostly the
rounding of p where u is small, and the square of a u of 1e20 overflows.
"""

import math
from collections.abc import Sequence

from steadystep.clipping.base import to_limit
from steadystep.rule import Rule
from steadystep.tracing.ops import Number, isfinite, sqrt, where

SMALL = 2.0**-540
"""Updates are squared twice, as they are and multiplied by this: beyond 1e154 only the second square is finite."""

ROUNDING = 4e-13
"""The excess over a bound that the rounding of a sum explains; it does not count as clipped."""


def starts_at_zero(rule: Rule) -> bool:
    """Return whether the update is independent of the parameter, which it is unless weight decay is within the rule."""
    return rule.decay != "within"


def squares(update: Number) -> tuple[Number, Number]:
    """Return the two squares that are summed over a tensor."""
    small = SMALL * update
    return update * update, small * small


def limit(totals: Sequence[Number], count: Number, lr: Number, bound: float) -> tuple[Number, Number]:
    """Return the factor that brings the root mean square of update / lr down to `bound`, and whether it is below 1."""
    total, small = totals
    rms = where(isfinite(total), sqrt(total / count), sqrt(small / count) / SMALL)
    return to_limit(rms, where(lr > 0, bound * (1 + ROUNDING) * lr, math.inf))
