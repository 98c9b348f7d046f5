"""Matrix products as lines of a `Program`, multiplied by torch's own BLAS.

Compiled code calls the same function that torch calls, so the results agree to the last bit, and it skips the work that
torch does around each call.
"""

import ctypes
from functools import cache
from pathlib import Path

import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from steadystep.lab.replicas.compiled.ops import Line, places

_NAMES = {torch.float32: "sgemm_64_", torch.float64: "dgemm_64_"}  # of BLAS, with integers of 64 bits

ARGUMENTS = 13
"""What BLAS's gemm takes, all by their addresses: how A and B lie, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc."""


@cache
def gemm(dtype: torch.dtype) -> int | None:
    """The address of the function that torch multiplies such matrices with; None where torch has none to give."""
    if dtype not in _NAMES:
        return None
    for library in sorted((Path(torch.__file__).parent / "lib").glob("*torch_cpu.*")):
        try:
            function = getattr(ctypes.CDLL(str(library)), _NAMES[dtype])
        except (AttributeError, OSError):  # it has no such function, or is none to be loaded
            continue
        return ctypes.cast(function, ctypes.c_void_p).value
    return None


@intrinsic
def call_gemm(context, function, arguments):
    """Call a `gemm` with these addresses."""

    def generate(context, builder, signature, given):
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer] * ARGUMENTS)
        words = [builder.extract_value(given[1], place) for place in range(ARGUMENTS)]
        called = builder.inttoptr(given[0], kind.as_pointer())
        builder.call(called, [builder.inttoptr(word, pointer) for word in words])
        return context.get_dummy_value()

    return types.void(types.int64, types.UniTuple(types.int64, ARGUMENTS)), generate


OPERATION = "product"

WORTH_BLAS = 400
"""Multiplications of a replica's product from which torch leaves it to BLAS; smaller ones it does itself."""


def product_line(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> Line | None:
    """c = a @ b for (replicas, m, k) and (replicas, k, n); None for what torch multiplies in another way."""
    (replicas, m, k), n = a.shape, b.shape[2]
    function = gemm(a.dtype)
    if function is None or m * k * n < WORTH_BLAS or not c.is_contiguous():
        return None
    of_a, of_b = _lies(a), _lies(b)
    if of_a is None or of_b is None:
        return None
    # BLAS counts along columns, and what lies row by row is transposed to it: c^T = b^T a^T.
    one = int(torch.tensor([1, 0], dtype=a.dtype).view(torch.int64)[0])
    words = [replicas, function, *places((b, a, c)), *of_b, *of_a, n, m, k, n, one, 0]
    return Line(OPERATION, a.dtype, words, (a, b, c))


def _lies(matrices: torch.Tensor) -> tuple[int, int] | None:
    """Whether each lies column by column, as BLAS's letter, and how far it is from one row, or column, to the next."""
    _, rows, columns = matrices.shape
    _, down, across = matrices.stride()
    if across == 1 and down >= columns:
        return ord("N"), down
    if down == 1 and across >= rows:
        return ord("T"), across
    return None


# The addresses of the line's own words, but for the matrices': BLAS reads everything from memory.
SOURCE = """
def product(line, address, replica):
    call_gemm(line[2], (
        address + 8 * 9, address + 8 * 11, address + 8 * 13, address + 8 * 14, address + 8 * 15, address + 8 * 17,
        line[3] + replica * line[4], address + 8 * 10, line[5] + replica * line[6], address + 8 * 12,
        address + 8 * 18, line[7] + replica * line[8], address + 8 * 16,
    ))
"""
