"""Operations on tensors that stay where they are, as a list of numbers that one compiled function goes through.

Between two operations there is then nothing of Python or torch: for a small network that is a third of a step.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import njit, types

from steadystep.kernels.codegen import lines
from steadystep.kernels.cpu.intrinsics import STORED, STRICT
from steadystep.kernels.cpu.jit import compile_kernel
from steadystep.lab.replicas.compiled import exp_log, matmul
from steadystep.lab.replicas.compiled.exp_log import EXPONENTIALS, fma
from steadystep.lab.replicas.compiled.ops import OPERATIONS, Kernel, Line, Operation

WORDS = 20
"""Of a line: the number of its operation, and what the operation asks for."""

ROWS = 16
"""Rows that are added up by themselves first: by so many torch adds up a batch."""

VECTOR_BYTES = {"AVX512": 64, "AVX2": 32}.get(torch.backends.cpu.get_cpu_capability(), 16)
"""Of torch's vectors, whose elements are added up side by side."""

ADDING_BYTES = min(VECTOR_BYTES, 32)
"""Of those with which it adds up rows."""


class Program:
    """Lines to be run one after the other, as often as one likes.

    Attributes:
        table: (lines, WORDS) int64, what they are to the compiled function.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        [dtype] = {line.dtype for line in lines}
        self.table = np.zeros((len(lines), WORDS), np.int64)
        for row, line in zip(self.table, lines, strict=True):
            row[: 1 + len(line.words)] = _NAMES.index(line.operation), *line.words
        self._keeps = [line.tensors for line in lines]
        self._run = _runner(dtype)

    def run(self) -> None:
        self._run(self.table)


def evaluated(kernel: Kernel, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What a kernel gives for these arguments.

    >>> from steadystep.lab.replicas.compiled.ops import BIASED
    >>> evaluated(BIASED, torch.ones(1, 2, 3), torch.arange(3.0).view(1, 1, 3))
    (tensor([[[1., 2., 3.],
             [1., 2., 3.]]]),)
    """
    results = kernel(*arguments)
    Program([kernel.line([argument.contiguous() for argument in arguments], results)]).run()
    return results


_NAMES = [*(operation.name for operation in OPERATIONS), matmul.OPERATION]

_RUNNER = """
def kernel(program):
    for number in range(len(program)):
        line = program[number]
        operation = line[0]
        for replica in range(line[1]):
            {operations}
"""

_HELPERS = '''
def each_exp(x):
    wide_vectors()
    for i in range(len(x)):
        x[i] = exp(x[i])

def total(x):
    """As torch adds up the last dimension: elements that lie in a vector's same place first."""
    if len(x) < LANES:
        found = x[0]
        for i in range(1, len(x)):
            found += x[i]
        return found
    sums = x[:LANES].copy()
    for i in range(LANES, len(x)):
        sums[i % LANES] += x[i]
    half = LANES // 2
    while half:
        for i in range(half):
            sums[i] += sums[i + half]
        half //= 2
    return sums[0]

def add_up_rows(x, sums):
    """As torch adds up rows: by blocks of them, or, in the columns that fill no four vectors, by every fourth."""
    rows, width = x.shape
    columns = 4 * (ADDED if width >= ADDED else 1)
    in_vectors = width // columns * columns
    some = zeros_like(sums)
    sums[:] = 0
    for first in range(0, rows, ROWS):
        some[:in_vectors] = 0
        for row in range(first, min(first + ROWS, rows)):
            for i in range(in_vectors):
                some[i] += x[row, i]
        for i in range(in_vectors):
            sums[i] += some[i]
    fourths = rows // 4
    for i in range(in_vectors, width):
        for number in range(4):
            fourth = NUMBER(0)
            for first in range(0, fourths, ROWS):
                block = NUMBER(0)
                for row in range(first, min(first + ROWS, fourths)):
                    block += x[4 * row + number, i]
                fourth += block
            if number == 0:
                for row in range(4 * fourths, rows):
                    fourth += x[row, i]
            sums[i] += fourth
'''


@cache
def _runner(dtype: torch.dtype) -> Callable[[np.ndarray], None]:
    """The function that goes through lines over such numbers."""
    exp, log = EXPONENTIALS[dtype]
    names: dict[str, Any] = {
        "NUMBER": STORED[str(dtype).removeprefix("torch.")],
        "LANES": VECTOR_BYTES // dtype.itemsize,
        "ADDED": ADDING_BYTES // dtype.itemsize,
        "ROWS": ROWS,
        "WORDS": WORDS,
        "exp": exp,
        "log": log,
        "fma": fma,
        "call_gemm": matmul.call_gemm,
        "nan": np.nan,
        "zeros_like": np.zeros_like,
        "jit": njit(**STRICT),
        "int64": np.int64,
        "uint8": np.uint8,
    }
    functions = [*_HELPERS.split("\n\n"), *map(_function, OPERATIONS), matmul.SOURCE]
    branches = [line for number, each in enumerate(OPERATIONS) for line in _branch(number, each)]
    branches += ["else:", "    product(line, program.ctypes.data + number * 8 * WORDS, replica)"]
    source = "\n".join(f"@jit\n{function.strip()}\n" for function in functions)
    source += _RUNNER.format(operations=lines(12, branches))
    return compile_kernel("program", source, names, None, types.void(types.int64[:, ::1]), modules=(exp_log, matmul))


def _function(operation: Operation) -> str:
    return f"def {operation.name}({', '.join(operation.operands)}):{operation.source}"


def _branch(number: int, operation: Operation) -> list[str]:
    operands = [
        f"carray(at(line[{4 + 2 * place}] + replica * line[{5 + 2 * place}]), {operand})"
        for place, operand in enumerate(operation.operands.values())
    ]
    return [
        f"{'el' if number else ''}if operation == {number}:",
        "    rows, width = line[2], line[3]",
        f"    {operation.name}({', '.join(operands)})",
    ]
