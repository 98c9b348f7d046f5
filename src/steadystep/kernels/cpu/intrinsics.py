"""Intrinsics for CPU kernels: the operations that rules use, memory access by address, and half precision."""

import platform
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

STRICT: Any = {"error_model": "numpy"}
"""IEEE arithmetic in the order that is written: no flag that assumes finite numbers or that reassociates."""


def where(condition, yes, no):
    """Return `yes` or `no`; see the overload."""


def minimum(x, y):
    """Return the smaller number, or NaN; see the overload."""


def maximum(x, y):
    """Return the larger number, or NaN; see the overload."""


def sign(x):
    """Return -1, 0 or 1; see the overload."""


@overload(where, jit_options=STRICT)
def _where(condition, yes, no):
    of_type = _precision(yes, no)

    def select(condition, yes, no):
        return of_type(yes) if condition else of_type(no)

    return select


@overload(minimum, jit_options=STRICT)
def _minimum(x, y):
    of_type: Any = _precision(x, y)

    def smaller(x, y):
        a, b = of_type(x), of_type(y)
        return a if (a < b) | (a != a) else b  # NaN if either is

    return smaller


@overload(maximum, jit_options=STRICT)
def _maximum(x, y):
    of_type: Any = _precision(x, y)

    def larger(x, y):
        a, b = of_type(x), of_type(y)
        return a if (a > b) | (a != a) else b

    return larger


@overload(sign, jit_options=STRICT)
def _sign(x):
    one, minus_one, zero = x(1), x(-1), x(0)

    def signed(x):
        return one if x > 0 else (minus_one if x < 0 else zero * x)  # NaN stays NaN

    return signed


def _precision(x, y):
    """Return the narrower of two types, so that a rule's literal 0.0, a float64 in Numba, does not widen a float32."""
    floats = [kind for kind in (x, y) if isinstance(kind, types.Float)]
    return min(floats, key=lambda kind: kind.bitwidth)


NAMES = {"sqrt": np.sqrt, "where": where, "abs": abs, "sign": sign, "minimum": minimum, "maximum": maximum}
"""The operations of `steadystep.tracing.ops` that rules use, for one number at a time."""


@intrinsic
def at(context, address):
    """Convert an address to a pointer for `numba.carray`."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


_WORD = ir.IntType(64)


@intrinsic
def take_ticket(context, address):
    """Atomically add 1 to the counter at an address and return its old value."""

    def generate(context, builder, signature, arguments):
        counter = builder.inttoptr(arguments[0], _WORD.as_pointer())
        return builder.atomic_rmw("add", counter, ir.Constant(_WORD, 1), "acq_rel")

    return types.int64(types.int64), generate


@intrinsic
def read_counter(context, address):
    """Read the counter at an address atomically, so that earlier writes of other threads are visible."""

    def generate(context, builder, signature, arguments):
        counter = builder.inttoptr(arguments[0], _WORD.as_pointer())
        return builder.load_atomic(counter, "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic
def prefetch(context, address):
    """Prefetch the cache line at an address."""

    def generate(context, builder, signature, arguments):
        byte, word = ir.IntType(8), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        pointer = builder.inttoptr(arguments[0], byte.as_pointer())
        builder.call(function, [pointer, word(0), word(3), word(1)])  # read, high locality, data cache
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def wide_vectors(context):
    """Let the calling kernel use vectors of up to 512 bits; by default LLVM uses at most 256 bits."""

    def generate(context, builder, signature, arguments):
        # llvmlite knows no attribute with a value; LLVM reads this one from the text.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def add_product(context, total, x, y):
    """Return total + x * y as part of a sum that may be reordered into vectors; all else stays in the order written."""
    assert total == x == y, "the sum has the type of its terms"

    def generate(context, builder, signature, arguments):
        flags = ("reassoc", "contract")
        return builder.fadd(arguments[0], builder.fmul(arguments[1], arguments[2], flags=flags), flags=flags)

    return total(total, total, total), generate


@intrinsic
def larger_magnitude(context, bits, x):
    """Return the larger of `bits` and the bits of |x|. Integers vectorise, and NaN ranks above infinity."""
    assert isinstance(x, types.Float)
    word = types.Integer.from_bitwidth(x.bitwidth)

    def generate(context, builder, signature, arguments):
        kind = ir.IntType(x.bitwidth)
        magnitude = builder.and_(builder.bitcast(arguments[1], kind), kind((1 << (x.bitwidth - 1)) - 1))
        return builder.select(builder.icmp_signed(">", magnitude, arguments[0]), magnitude, arguments[0])

    return word(word, x), generate


@intrinsic
def from_bits(context, bits):
    """Return the float that has these bits."""
    result = types.Float(f"float{bits.bitwidth}")

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(result))

    return result(bits), generate


@intrinsic
def to_bits(context, x):
    """Return the bits of a float as an unsigned integer."""
    result = types.Integer.from_bitwidth(x.bitwidth, signed=False)

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(result))

    return result(x), generate


@intrinsic
def _half_to_float(context, bits):
    def generate(context, builder, signature, arguments):
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


@intrinsic
def _float_to_half(context, x):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(builder.fptrunc(arguments[0], ir.HalfType()), ir.IntType(16))

    return types.uint16(types.float32), generate


@intrinsic
def _shifted_up(context, bits):
    """Return a bfloat16, the upper half of a float32, as a float32."""

    def generate(context, builder, signature, arguments):
        word = ir.IntType(32)
        return builder.bitcast(builder.shl(builder.zext(arguments[0], word), word(16)), ir.FloatType())

    return types.float32(types.uint16), generate


@intrinsic
def _rounded_up(context, x):
    """Return the upper half of a float32, rounded to nearest, ties to even; NaN stays NaN."""

    def generate(context, builder, signature, arguments):
        word = ir.IntType(32)
        bits = builder.bitcast(arguments[0], word)
        odd = builder.and_(builder.lshr(bits, word(16)), word(1))
        rounded = builder.lshr(builder.add(bits, builder.add(odd, word(0x7FFF))), word(16))
        quiet = builder.or_(builder.lshr(bits, word(16)), word(0x40))  # rounding could carry a NaN into infinity
        is_nan = builder.fcmp_unordered("uno", arguments[0], arguments[0])
        return builder.trunc(builder.select(is_nan, quiet, rounded), ir.IntType(16))

    return types.uint16(types.float32), generate


@intrinsic
def random_bits(context, number):
    """Return 32 bits that look random for each of a sequence of numbers with the golden ratio as their difference.

    The first round of the integer hash "lowbias32" (Wellons 2018): rounding to 16 bits needs no better one.
    """

    def generate(context, builder, signature, arguments):
        word = ir.IntType(32)
        x = builder.xor(arguments[0], builder.lshr(arguments[0], word(16)))
        x = builder.mul(x, word(0x7FEB352D))
        return builder.xor(x, builder.lshr(x, word(15)))

    return types.uint32(types.uint32), generate


@intrinsic
def rounded_at_random(context, x, noise):
    """Round a float32 to bfloat16: up or down, as the lower 16 bits of `noise` decide; see `precision.round_to`.

    What is not finite, or would become infinite, is cut off. A NaN stays one: operations set a bit of its upper half.
    A denormal number becomes 0, as by `flushed`; one function that does both takes fewer instructions.
    """

    def generate(context, builder, signature, arguments):
        word = ir.IntType(32)
        bits = builder.bitcast(arguments[0], word)
        magnitude = builder.and_(bits, word(0x7FFFFFFF))
        noise = builder.and_(arguments[1], word(0xFFFF))
        noise = builder.select(builder.icmp_unsigned("<", magnitude, word(0x7F7F0000)), noise, word(0))
        rounded = builder.lshr(builder.add(bits, noise), word(16))
        is_denormal = builder.icmp_unsigned("<", magnitude, word(0x00800000))
        return builder.trunc(builder.select(is_denormal, word(0), rounded), ir.IntType(16))

    return types.uint16(types.float32, types.uint32), generate


@njit(**STRICT)
def _as_it_is(x):
    return x


def _flush(smallest: np.floating[Any]) -> Any:
    """Compile what `kernels.precision.flushed` does, for numbers of the type of the smallest normal one."""
    zero = type(smallest)(0)

    @njit(**STRICT)
    def flushed(x):
        return zero if abs(x) < smallest else x

    return flushed


FLUSHED = {"float32": _flush(np.finfo(np.float32).tiny), "float64": _flush(np.finfo(np.float64).tiny)}
"""The function that stores 0 in place of a denormal number, by dtype of the state."""

LOADS = {"float32": _as_it_is, "float64": _as_it_is, "bfloat16": _shifted_up, "float16": _half_to_float}
"""The conversion from a stored element to the precision of the kernel, by dtype name."""

STORES = {"float32": _as_it_is, "float64": _as_it_is, "bfloat16": _rounded_up, "float16": _float_to_half}

STORED = {"float32": np.float32, "float64": np.float64, "bfloat16": np.uint16, "float16": np.uint16}
"""The type that an element is read from memory as."""

HAS_HALF = platform.machine() not in ("x86_64", "AMD64") or bool(get_host_cpu_features().get("f16c"))
"""Whether the processor converts float16; without it, LLVM would call library functions that are not there."""
