"""torch's own product of matrices for compiled code: without what torch does around it, and with the same last bits."""

import ctypes
from functools import cache
from pathlib import Path

import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

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
