"""Programs: operations on tensors at fixed addresses, encoded as numbers and executed by one compiled function.

Neither Python nor torch runs between two operations. For a small network that overhead is a third of a step.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import njit, types

from steadystep.kernels.codegen import indented
from steadystep.kernels.cpu.intrinsics import STORED, STRICT
from steadystep.kernels.cpu.jit import compile_kernel
from steadystep.lab.replicas.compiled import exp_log, matmul
from steadystep.lab.replicas.compiled.exp_log import EXP_LOG, fma
from steadystep.lab.replicas.compiled.ops import OPS, FusedOp, Instruction, Op

INSTRUCTION_WIDTH = 20
"""Number of int64 values in an encoded instruction: the opcode and its operands."""

ROWS = 16
"""Rows in a block whose sum is computed first. torch sums a batch in blocks of this size."""

VECTOR_BYTES = {"AVX512": 64, "AVX2": 32}.get(torch.backends.cpu.get_cpu_capability(), 16)
"""Size of the vectors that torch uses to sum the last dimension."""

ROW_VECTOR_BYTES = min(VECTOR_BYTES, 32)
"""Size of the vectors that torch uses to sum over rows."""


class Program:
    """Instructions that are executed in order, any number of times.

    Attributes:
        table: the encoded instructions, (instructions, INSTRUCTION_WIDTH) int64.
    """

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        [dtype] = {instruction.dtype for instruction in instructions}
        self.table = np.zeros((len(instructions), INSTRUCTION_WIDTH), np.int64)
        for row, instruction in zip(self.table, instructions, strict=True):
            row[: 1 + len(instruction.operands)] = _OPCODES[instruction.op], *instruction.operands
        self._tensors = [instruction.tensors for instruction in instructions]  # keeps their memory alive
        self._execute = _interpreter(dtype)

    def run(self) -> None:
        """Execute all instructions."""
        self._execute(self.table)


def run_op(op: FusedOp, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the results of an operation.

    >>> from steadystep.lab.replicas.compiled.ops import BIASED
    >>> run_op(BIASED, torch.ones(1, 2, 3), torch.arange(3.0).view(1, 1, 3))
    (tensor([[[1., 2., 3.],
             [1., 2., 3.]]]),)
    """
    results = op(*arguments)
    Program([op.instruction([argument.contiguous() for argument in arguments], results)]).run()
    return results


_OPCODES = {name: number for number, name in enumerate((*(op.name for op in OPS), matmul.OP_NAME))}

_INTERPRETER = """
def kernel(program):
    for number in range(len(program)):
        instruction = program[number]
        opcode = instruction[0]
        for replica in range(instruction[1]):
            {branches}
"""

_HELPERS = '''
def exp_in_place(x):
    wide_vectors()
    for i in range(len(x)):
        x[i] = exp(x[i])

def sum_row(x):
    """Sum in the order in which torch sums the last dimension: each lane of the vectors first, then the lanes."""
    if len(x) < LANES:
        total = x[0]
        for i in range(1, len(x)):
            total += x[i]
        return total
    sums = x[:LANES].copy()
    for i in range(LANES, len(x)):
        sums[i % LANES] += x[i]
    half = LANES // 2
    while half:
        for i in range(half):
            sums[i] += sums[i + half]
        half //= 2
    return sums[0]

def sum_rows(x, sums):
    """Sum in the order in which torch sums over rows.

    Rows are summed in blocks. In the last columns, which do not fill four vectors, every fourth row goes into a sum of
    its own first.
    """
    rows, width = x.shape
    columns = 4 * (ROW_LANES if width >= ROW_LANES else 1)
    vectorised = width // columns * columns
    block_sums = zeros_like(sums)
    sums[:] = 0
    for first in range(0, rows, ROWS):
        block_sums[:vectorised] = 0
        for row in range(first, min(first + ROWS, rows)):
            for i in range(vectorised):
                block_sums[i] += x[row, i]
        for i in range(vectorised):
            sums[i] += block_sums[i]
    fourths = rows // 4
    for i in range(vectorised, width):
        for number in range(4):
            total = NUMBER(0)
            for first in range(0, fourths, ROWS):
                block_sum = NUMBER(0)
                for row in range(first, min(first + ROWS, fourths)):
                    block_sum += x[4 * row + number, i]
                total += block_sum
            if number == 0:
                for row in range(4 * fourths, rows):
                    total += x[row, i]
            sums[i] += total
'''


@cache
def _interpreter(dtype: torch.dtype) -> Callable[[np.ndarray], None]:
    """Compile the function that executes the instructions of a program of this dtype."""
    exp, log = EXP_LOG[dtype]
    names: dict[str, Any] = {
        "NUMBER": STORED[str(dtype).removeprefix("torch.")],
        "LANES": VECTOR_BYTES // dtype.itemsize,
        "ROW_LANES": ROW_VECTOR_BYTES // dtype.itemsize,
        "ROWS": ROWS,
        "INSTRUCTION_WIDTH": INSTRUCTION_WIDTH,
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
    functions = [_HELPERS, *map(_function_source, OPS), matmul.SOURCE]
    branches = [line for opcode, op in enumerate(OPS) for line in _branch_source(opcode, op)]
    branches += ["else:", "    matmul(instruction, program.ctypes.data + number * 8 * INSTRUCTION_WIDTH, replica)"]
    source = "\n".join(functions).replace("\ndef ", "\n@jit\ndef ")
    source += _INTERPRETER.format(branches=indented(12, branches))
    return compile_kernel("program", source, names, None, types.void(types.int64[:, ::1]), modules=(exp_log, matmul))


def _function_source(op: Op) -> str:
    return f"\ndef {op.name}({', '.join(op.arrays)}):{op.source}"


def _branch_source(opcode: int, op: Op) -> list[str]:
    """Return the lines that call the operation's function with the arrays of one replica."""
    arrays = [
        f"carray(at(instruction[{4 + 2 * place}] + replica * instruction[{5 + 2 * place}]), {shape_and_dtype})"
        for place, shape_and_dtype in enumerate(op.arrays.values())
    ]
    return [
        f"{'el' if opcode else ''}if opcode == {opcode}:",
        "    rows, width = instruction[2], instruction[3]",
        f"    {op.name}({', '.join(arrays)})",
    ]
