"""Products of matrices as lines of a `Program`: by the function that torch itself multiplies with."""

import torch

from steadystep.kernels.cpu.blas import gemm
from steadystep.lab.study.replicas.kernels import Line, places

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
