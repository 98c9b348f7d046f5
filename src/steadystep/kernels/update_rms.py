"""How far an update would move a tensor, which ClipUpdate bounds: the same in every backend.

A rule is evaluated in float64 for this, and from 0 where it only adds to the parameter: what float32 makes of p - u is
mostly the rounding of p, where u is small, and the square of a u of 1e20 is no float32.
"""

import math
from collections.abc import Sequence

from steadystep.clipping.base import to_limit
from steadystep.rule import Rule
from steadystep.tracing.ops import Number, isfinite, sqrt, where

SMALL = 2.0**-540
"""Moves are squared twice, as they are and times this: beyond 1e154 only the second square is finite."""

ROUNDING = 4e-13
"""The excess over a bound that the rounding of a sum explains: nothing is clipped by it."""


def starts_at_zero(rule: Rule) -> bool:
    """Whether the parameter's own value does not enter the rule's update: decay within it would need it."""
    return rule.decay != "within"


def squares(move: Number) -> tuple[Number, Number]:
    """What is added up over a tensor."""
    small = SMALL * move
    return move * move, small * small


def limit(totals: Sequence[Number], count: Number, lr: Number, bound: float) -> tuple[Number, Number]:
    """The factor that brings the root mean square of update over learning rate to `bound`; whether it is below 1."""
    total, small = totals
    moved = where(isfinite(total), sqrt(total / count), sqrt(small / count) / SMALL)
    return to_limit(moved, where(lr > 0, bound * (1 + ROUNDING) * lr, math.inf))
