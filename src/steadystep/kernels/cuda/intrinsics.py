"""What Triton kernels are made of: the names that rules are written in, memory by its address, half precision."""

from typing import Any

import triton
import triton.language as tl

# What runs on the device is Triton, which only looks like Python: types mean nothing in here.
# pyright: basic, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportArgumentType=false


@triton.jit
def minimum(x, y):
    return tl.where((x < y) | (x != x), x, y)  # NaN if either is


@triton.jit
def maximum(x, y):
    return tl.where((x > y) | (x != x), x, y)


@triton.jit
def sign(x):
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, 0.0 * x))  # NaN stays NaN


HELPERS: dict[str, Any] = {"minimum": minimum, "maximum": maximum, "sign": sign}
"""The names of `steadystep.tracing.ops` that are functions of their own here."""

BUILT_IN = {
    "float32": {"where": "tl.where", "abs": "tl.abs", "sqrt": "tl.sqrt_rn", "/": "tl.div_rn"},
    "float64": {"where": "tl.where", "abs": "tl.abs", "sqrt": "tl.sqrt"},
}
"""Those that Triton has, by precision: its plain float32 root and quotient are approximations, float64's are exact."""


@triton.jit
def located(address, STORED: tl.constexpr, ALIGNED: tl.constexpr):
    """The pointer to elements stored at an address, which is a multiple of 16 bytes if ALIGNED."""
    pointer = address.to(tl.pointer_type(STORED))
    if ALIGNED:
        pointer = tl.multiple_of(pointer, 16)
    return pointer


@triton.jit
def widen(x):
    """A stored element as a number: float32, or float64 as it is. A bfloat16 comes as the upper half of a float32."""
    if x.dtype == tl.int16:
        return (x.to(tl.int32) << 16).to(tl.float32, bitcast=True)
    elif x.dtype == tl.float16:
        return x.to(tl.float32)
    else:
        return x


@triton.jit
def narrow(x, STORED: tl.constexpr):
    """A number as it is stored, rounded to nearest, ties to even; NaN stays NaN."""
    if STORED == tl.int16:  # noqa: SIM300
        bits = x.to(tl.int32, bitcast=True)
        rounded = bits + 0x7FFF + ((bits >> 16) & 1)
        quiet = bits | 0x400000  # rounding could carry a NaN into infinity
        return (tl.where(x != x, quiet, rounded) >> 16).to(tl.int16)
    else:
        return x.to(STORED)


@triton.jit
def bits_of_magnitude(x):
    """|x| as an integer: there NaN is larger than infinity, and the order is that of the numbers otherwise."""
    if x.dtype == tl.float64:
        return x.to(tl.int64, bitcast=True) & 0x7FFFFFFFFFFFFFFF
    else:
        return x.to(tl.int32, bitcast=True) & 0x7FFFFFFF


@triton.jit
def factor_in_two(factors, index, MATH: tl.constexpr):
    """A float64 factor as two: one of 1e-40 is no normal float32, its root is. 1 where there are no factors."""
    if factors is None:
        return tl.full([], 1.0, MATH), tl.full([], 1.0, MATH)
    else:
        factor = tl.load(factors + index)
        root = tl.sqrt(factor)
        tiny = factor < 1e-30
        return tl.where(tiny, root, factor).to(MATH), tl.where(tiny, root, 1.0).to(MATH)


@triton.jit
def clamped(x, bound):
    return tl.where(x > bound, bound, tl.where(x < -bound, -bound, x))  # NaN stays NaN


STORED = {"float32": tl.float32, "float64": tl.float64, "bfloat16": tl.int16, "float16": tl.float16}
"""As what an element is read from memory, by the name of its type."""
