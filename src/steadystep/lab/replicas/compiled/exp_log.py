"""exp and log for compiled code, bitwise equal to those in torch's softmax.

torch computes both with SLEEF's vector functions, which have an error of at most one unit in the last place: exp with a
polynomial around the nearest multiple of log 2, log with the series in (m - 1) / (m + 1) in double-float arithmetic.
Other implementations are as accurate but round differently. Source: N. Shibata and F. Petrogalli, "SLEEF: A portable
vectorized library of C standard mathematical functions", 2020; `expf_u10` and `logf_u10`.
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
"""Compute a * b + c with a single rounding."""

from_bits: Any = intrinsics.from_bits
to_bits: Any = intrinsics.to_bits


@njit(**STRICT)
def _exp(x):
    """Return exp(x) for a float32 x.

    >>> float(_exp(np.float32(0))), float(_exp(np.float32(-200))), float(_exp(np.float32("nan")))
    (1.0, 0.0, nan)
    """
    in_range = x if (x > np.float32(-104)) & (x < np.float32(100)) else np.float32(0)
    quotient = np.rint(in_range * np.float32(1.442695040888963407))
    remainder = fma(quotient, np.float32(-0.693145751953125), in_range)  # log 2 is subtracted in two parts
    remainder = fma(quotient, np.float32(-1.428606765330187045e-06), remainder)
    y = fma(np.float32(0.000198527617612853646), remainder, np.float32(0.00139304355252534151))
    y = fma(y, remainder, np.float32(0.00833336077630519867))
    y = fma(y, remainder, np.float32(0.0416664853692054749))
    y = fma(y, remainder, np.float32(0.166666671633720398))
    y = fma(y, remainder, np.float32(0.5))
    y = np.float32(1) + fma(remainder * remainder, y, remainder)
    exponent = np.int32(quotient)
    half = exponent >> 1  # in two factors, because 2^exponent may not be a normal number
    y *= _power_of_two(half)
    y *= _power_of_two(exponent - half)
    # Selects instead of branches, so that LLVM vectorises the loop.
    y = np.float32(0) if x <= np.float32(-104) else y
    y = np.float32(np.inf) if x >= np.float32(100) else y
    return x if x != x else y


@njit(**STRICT)
def _log(x):
    """Return log(x) for a float32 x that is NaN, or finite and at least 1.

    >>> float(_log(np.float32(1))), float(_log(np.float32("nan")))
    (0.0, nan)
    """
    if x != x:
        return x
    exponent = (np.int32(to_bits(x * np.float32(4 / 3))) >> 23) - 127
    m = from_bits(np.int32(np.int32(to_bits(x)) - (exponent << 23)))  # x = m * 2^exponent with m from 3/4 to 3/2
    exponent_float = np.float32(exponent)
    # From here on every number is the unevaluated sum of two floats.
    integer_part = np.float32(0.69314718246459960938) * exponent_float
    integer_part_error = fma(np.float32(0.69314718246459960938), exponent_float, -integer_part)
    integer_part_error = fma(np.float32(-1.904654323148236017e-09), exponent_float, integer_part_error)
    numerator, numerator_error = _two_sum(np.float32(-1), m)
    denominator, denominator_error = _two_sum(np.float32(1), m)
    inverse = np.float32(1) / denominator
    ratio = numerator * inverse
    correction = fma(-denominator_error, inverse, fma(-denominator, inverse, np.float32(1)))
    ratio_error = fma(ratio, correction, fma(numerator_error, inverse, fma(inverse, numerator, -ratio)))
    square = ratio * ratio
    series = fma(np.float32(0.3027294874), square, np.float32(0.3996108174))
    series = fma(series, square, np.float32(0.6666694880))
    twice, twice_error = np.float32(2) * ratio, np.float32(2) * ratio_error
    first = integer_part + twice
    first_error = (((integer_part - first) + twice) + integer_part_error) + twice_error
    higher = square * ratio * series
    total = first + higher
    return total + (((first - total) + higher) + first_error)


@njit(**STRICT)
def _power_of_two(exponent):
    return from_bits(np.int32((exponent + 127) << 23))


@njit(**STRICT)
def _two_sum(a, b):
    """Return a + b and its rounding error."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


EXP_LOG: dict[torch.dtype, tuple[Any, Any]] = {
    torch.float32: (_exp, _log),
    torch.float64: (np.exp, np.log),  # here agreement to the last bit is not required
}
"""exp and log by dtype."""
