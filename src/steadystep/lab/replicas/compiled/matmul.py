"""Matrix products as instructions of a `Program`, computed by torch's own BLAS.

Compiled code calls the same function that torch calls, so the results agree to the last bit. It skips the work that
torch does around each call.
"""

import ctypes
from functools import cache
from pathlib import Path

import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from steadystep.lab.replicas.compiled.ops import Instruction, address_operands

_GEMM_NAMES = {torch.float32: "sgemm_64_", torch.float64: "dgemm_64_"}  # BLAS symbols with 64-bit integers

GEMM_ARGUMENTS = 13
"""Number of arguments of gemm, all passed by address: transa, transb, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc."""


@cache
def gemm(dtype: torch.dtype) -> int | None:
    """Return the address of torch's gemm function for matrices of this dtype; None if torch does not export one."""
    if dtype not in _GEMM_NAMES:
        return None
    for library in sorted((Path(torch.__file__).parent / "lib").glob("*torch_cpu.*")):
        try:
            function = getattr(ctypes.CDLL(str(library)), _GEMM_NAMES[dtype])
        except (AttributeError, OSError):  # the library has no such symbol or cannot be loaded
            continue
        return ctypes.cast(function, ctypes.c_void_p).value
    return None


@intrinsic
def call_gemm(context, function, arguments):
    """Call the gemm function at address `function` with the addresses of its arguments."""

    def generate(context, builder, signature, values):
        pointer = ir.IntType(8).as_pointer()
        function_type = ir.FunctionType(ir.VoidType(), [pointer] * GEMM_ARGUMENTS)
        addresses = [builder.extract_value(values[1], index) for index in range(GEMM_ARGUMENTS)]
        function = builder.inttoptr(values[0], function_type.as_pointer())
        builder.call(function, [builder.inttoptr(address, pointer) for address in addresses])
        return context.get_dummy_value()

    return types.void(types.int64, types.UniTuple(types.int64, GEMM_ARGUMENTS)), generate


OP_NAME = "matmul"

MIN_BLAS_SIZE = 400
"""Products with fewer multiplications per replica are not computed with BLAS: torch multiplies them itself."""


def matmul_instruction(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> Instruction | None:
    """Return the instruction c = a @ b for (replicas, m, k) and (replicas, k, n).

    Returns None if torch would not use BLAS or the memory layout is not one that BLAS supports.
    """
    (replicas, m, k), n = a.shape, b.shape[2]
    function = gemm(a.dtype)
    if function is None or m * k * n < MIN_BLAS_SIZE or not c.is_contiguous():
        return None
    layout_a, layout_b = _blas_layout(a), _blas_layout(b)
    if layout_a is None or layout_b is None:
        return None
    # BLAS is column-major, so a row-major matrix is the transpose of what BLAS reads: c^T = b^T a^T.
    one = int(torch.tensor([1, 0], dtype=a.dtype).view(torch.int64)[0])
    operands = [replicas, function, *address_operands((b, a, c)), *layout_b, *layout_a, n, m, k, n, one, 0]
    return Instruction(OP_NAME, a.dtype, operands, (a, b, c))


def _blas_layout(matrices: torch.Tensor) -> tuple[int, int] | None:
    """Return BLAS's transposition flag and leading dimension, or None if BLAS cannot read the matrices."""
    _, rows, columns = matrices.shape
    _, row_stride, column_stride = matrices.stride()
    if column_stride == 1 and row_stride >= columns:
        return ord("N"), row_stride
    if row_stride == 1 and column_stride >= rows:
        return ord("T"), column_stride
    return None


# BLAS takes every argument by address. `address` is that of the instruction, whose operands serve as the other
# arguments besides the matrices.
SOURCE = """
def matmul(instruction, address, replica):
    call_gemm(instruction[2], (
        address + 8 * 9, address + 8 * 11, address + 8 * 13, address + 8 * 14, address + 8 * 15, address + 8 * 17,
        instruction[3] + replica * instruction[4], address + 8 * 10,
        instruction[5] + replica * instruction[6], address + 8 * 12,
        address + 8 * 18, instruction[7] + replica * instruction[8], address + 8 * 16,
    ))
"""
