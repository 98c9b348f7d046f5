"""exp and log for compiled code, with the last bits that torch's softmax has.

torch takes both from SLEEF's vectors, with an error of at most one unit in the last place: exp from a polynomial about
the nearest multiple of log 2, log from the series in (m - 1) / (m + 1) with two numbers for every one. Other functions
are as accurate and round other numbers up. Source: N. Shibata and F. Petrogalli, "SLEEF: A portable vectorized library
of C standard mathematical functions", 2020; `expf_u10` and `logf_u10`.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from numba.extending import intrinsic

from steadystep.kernels.cpu import intrinsics
from steadystep.kernels.cpu.intrinsics import STRICT


@intrinsic
def _fma(context, a, b, c):
    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return a(a, a, a), generate


fma: Any = _fma
"""a * b + c, rounded once."""

from_bits: Any = intrinsics.from_bits
to_bits: Any = intrinsics.to_bits


@njit(**STRICT)
def _exp(x):
    """exp(x) of a float32.

    >>> float(_exp(np.float32(0))), float(_exp(np.float32(-200))), float(_exp(np.float32("nan")))
    (1.0, 0.0, nan)
    """
    inside = x if (x > np.float32(-104)) & (x < np.float32(100)) else np.float32(0)
    turns = np.rint(inside * np.float32(1.442695040888963407))
    rest = fma(turns, np.float32(-0.693145751953125), inside)  # log 2 in two parts
    rest = fma(turns, np.float32(-1.428606765330187045e-06), rest)
    y = fma(np.float32(0.000198527617612853646), rest, np.float32(0.00139304355252534151))
    y = fma(y, rest, np.float32(0.00833336077630519867))
    y = fma(y, rest, np.float32(0.0416664853692054749))
    y = fma(y, rest, np.float32(0.166666671633720398))
    y = fma(y, rest, np.float32(0.5))
    y = np.float32(1) + fma(rest * rest, y, rest)
    power = np.int32(turns)
    half = power >> 1  # 2^power itself may not be a normal number
    y *= _power_of_two(half)
    y *= _power_of_two(power - half)
    # Values are selected, not branched to: so that LLVM makes vectors of them.
    y = np.float32(0) if x <= np.float32(-104) else y
    y = np.float32(np.inf) if x >= np.float32(100) else y
    return x if x != x else y


@njit(**STRICT)
def _log(x):
    """log(x) of a float32 that is at least 1, and finite or NaN.

    >>> float(_log(np.float32(1))), float(_log(np.float32("nan")))
    (0.0, nan)
    """
    if x != x:
        return x
    power = (np.int32(to_bits(x * np.float32(4 / 3))) >> 23) - 127
    m = from_bits(np.int32(np.int32(to_bits(x)) - (power << 23)))  # x = m * 2^power, m from 3/4 to 3/2
    turns = np.float32(power)
    # Every number from here on is the sum of two.
    whole = np.float32(0.69314718246459960938) * turns
    whole_rest = fma(np.float32(0.69314718246459960938), turns, -whole)
    whole_rest = fma(np.float32(-1.904654323148236017e-09), turns, whole_rest)
    minus, minus_rest = _sum_of_two(np.float32(-1), m)
    plus, plus_rest = _sum_of_two(np.float32(1), m)
    inverse = np.float32(1) / plus
    ratio = minus * inverse
    missing = fma(-plus_rest, inverse, fma(-plus, inverse, np.float32(1)))
    ratio_rest = fma(ratio, missing, fma(minus_rest, inverse, fma(inverse, minus, -ratio)))
    square = ratio * ratio
    series = fma(np.float32(0.3027294874), square, np.float32(0.3996108174))
    series = fma(series, square, np.float32(0.6666694880))
    twice, twice_rest = np.float32(2) * ratio, np.float32(2) * ratio_rest
    first = whole + twice
    first_rest = (((whole - first) + twice) + whole_rest) + twice_rest
    higher = square * ratio * series
    found = first + higher
    return found + (((first - found) + higher) + first_rest)


@njit(**STRICT)
def _power_of_two(power):
    return from_bits(np.int32((power + 127) << 23))


@njit(**STRICT)
def _sum_of_two(a, b):
    """a + b, and what rounding took from it."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


EXPONENTIALS: dict[torch.dtype, tuple[Any, Any]] = {
    torch.float32: (_exp, _log),
    torch.float64: (np.exp, np.log),  # no last bits are promised there
}
"""exp and log by the type of their numbers."""
