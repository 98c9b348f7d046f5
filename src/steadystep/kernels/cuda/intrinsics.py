"""Intrinsics for Triton kernels: the operations that rules use, memory access by address, and half precision."""

from typing import Any

import triton
import triton.language as tl

# Triton code only looks like Python: its types mean nothing to a type checker.
# pyright: basic, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportArgumentType=false


@triton.jit
def minimum(x, y):
    """Return the smaller number, or NaN if either is NaN."""
    return tl.where((x < y) | (x != x), x, y)


@triton.jit
def maximum(x, y):
    """Return the larger number, or NaN if either is NaN."""
    return tl.where((x > y) | (x != x), x, y)


@triton.jit
def sign(x):
    """Return -1, 0 or 1; NaN stays NaN."""
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, 0.0 * x))


FUNCTIONS: dict[str, Any] = {"minimum": minimum, "maximum": maximum, "sign": sign}
"""The operations of `steadystep.tracing.ops` that Triton does not have."""

BUILT_IN = {
    "float32": {"where": "tl.where", "abs": "tl.abs", "sqrt": "tl.sqrt_rn", "/": "tl.div_rn"},
    "float64": {"where": "tl.where", "abs": "tl.abs", "sqrt": "tl.sqrt"},
}
"""The operations that Triton has, by precision. Its plain float32 root and quotient are approximations."""


@triton.jit
def located(address, STORED: tl.constexpr, ALIGNED: tl.constexpr):
    """Convert an address, a multiple of 16 bytes if ALIGNED, to a pointer to elements of type STORED."""
    pointer = address.to(tl.pointer_type(STORED))
    if ALIGNED:
        pointer = tl.multiple_of(pointer, 16)
    return pointer


@triton.jit
def widen(x):
    """Convert a stored element to float32, but leave float64 as it is; a bfloat16 is stored as an int16."""
    if x.dtype == tl.int16:
        return (x.to(tl.int32) << 16).to(tl.float32, bitcast=True)
    elif x.dtype == tl.float16:
        return x.to(tl.float32)
    else:
        return x


@triton.jit
def narrow(x, STORED: tl.constexpr):
    """Convert a number to its stored type, rounded to nearest, ties to even; NaN stays NaN."""
    if STORED == tl.int16:  # noqa: SIM300
        bits = x.to(tl.int32, bitcast=True)
        rounded = bits + 0x7FFF + ((bits >> 16) & 1)
        quiet = bits | 0x400000  # rounding could carry a NaN into infinity
        return (tl.where(x != x, quiet, rounded) >> 16).to(tl.int16)
    else:
        return x.to(STORED)


@triton.jit
def bits_of_magnitude(x):
    """Return the bits of |x| as an integer; the integers have the order of the numbers, with NaN above infinity."""
    if x.dtype == tl.float64:
        return x.to(tl.int64, bitcast=True) & 0x7FFFFFFFFFFFFFFF
    else:
        return x.to(tl.int32, bitcast=True) & 0x7FFFFFFF


@triton.jit
def factor_in_two(factors, index, MATH: tl.constexpr):
    """Load a factor as two whose product it is: 1e-40, unlike its root, is not a normal float32. 1 if there is none."""
    if factors is None:
        return tl.full([], 1.0, MATH), tl.full([], 1.0, MATH)
    else:
        factor = tl.load(factors + index)
        root = tl.sqrt(factor)
        tiny = factor < 1e-30
        return tl.where(tiny, root, factor).to(MATH), tl.where(tiny, root, 1.0).to(MATH)


@triton.jit
def clamped(x, bound):
    """Limit x to [-bound, bound]; NaN stays NaN."""
    return tl.where(x > bound, bound, tl.where(x < -bound, -bound, x))


@triton.jit
def flushed(x):
    """Return 0 in place of a denormal number; see `kernels.precision.flushed`."""
    if x.dtype == tl.float64:
        return tl.where(tl.abs(x) < 2.2250738585072014e-308, 0.0, x)
    else:
        return tl.where(tl.abs(x) < 1.1754943508222875e-38, 0.0, x)


@triton.jit
def random_bits(number):
    """Return 32 bits that look random for each of a sequence of numbers with the golden ratio as their difference.

    The first round of the integer hash "lowbias32" (Wellons 2018), as on the CPU.
    """
    x = number.to(tl.uint32)
    x = (x ^ (x >> 16)) * 0x7FEB352D
    return x ^ (x >> 15)


@triton.jit
def salt_of(step, tensor, start):
    """Return random bits of the number of a step, a tensor and a place in it: what its elements' noise begins with."""
    salt = random_bits(step.to(tl.int64).to(tl.uint32) * 0x9E3779B9)
    salt = random_bits(tensor.to(tl.uint32) * 0x9E3779B9 + salt)
    return random_bits(start.to(tl.uint32) * 0x9E3779B9 + salt)


@triton.jit
def rounded_at_random(x, noise):
    """Round a float32 to bfloat16, stored as an int16: up or down, as the lower 16 bits of `noise` decide.

    What is not finite, or would become infinite, is cut off; see `precision.round_to`.
    """
    bits = x.to(tl.int32, bitcast=True)
    noise = tl.where((bits & 0x7FFFFFFF) < 0x7F7F0000, (noise & 0xFFFF).to(tl.int32), 0)
    return ((bits + noise) >> 16).to(tl.int16)


STORED = {"float32": tl.float32, "float64": tl.float64, "bfloat16": tl.int16, "float16": tl.float16}
"""The type that an element is read from memory as, by dtype name."""
