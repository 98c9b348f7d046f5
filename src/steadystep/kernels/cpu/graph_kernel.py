"""A formula as one compiled loop over its operations: what a step decides, in float64.

One kernel runs all formulas, as a table of what to compute from where: compiling each of them would take seconds.
"""

from collections.abc import Callable, Sequence
from functools import cache
from textwrap import indent

import numpy as np
import torch
from numba import types

from steadystep.kernels.cpu.jit import compile_kernel
from steadystep.tracing.graph import Graph

# What one entry of a result is, from the entries of its operands. Truth is 1.0 or 0.0.
_EACH = {
    "add": "a + b",
    "subtract": "a - b",
    "multiply": "a * b",
    "divide": "a / b",
    "power": "a ** c",  # b is the base's logarithm, for kernels that have no power
    "less": "float64(a < b)",
    "less_equal": "float64(a <= b)",
    "greater": "float64(a > b)",
    "greater_equal": "float64(a >= b)",
    "equal": "float64(a == b)",
    "not_equal": "float64(a != b)",
    "minimum": "minimum(a, b)",
    "maximum": "maximum(a, b)",
    "both": "a * b",
    "either": "maximum(a, b)",
    "not": "float64(a == 0.0)",
    "choose": "b if a != 0.0 else c",
    "magnitude": "abs(a)",
    "sqrt": "sqrt(a)",
    "isfinite": "float64(abs(a) < inf)",
}
# What a number is of all entries of a vector.
_WHOLE = {
    "largest": """\
        total = 0.0
        for i in range(width):
            a = memory[x + i * next_x]
            total = a if (a > total) | (a != a) else total""",
    "norm": """\
        peak = 0.0
        for i in range(width):
            a = abs(memory[x + i * next_x])
            peak = a if (a > peak) | (a != a) else peak
        total = peak
        if (peak > 0.0) & (peak < inf):
            squares = 0.0
            for i in range(width):
                a = memory[x + i * next_x] / peak
                squares += a * a
            total = peak * sqrt(squares)""",
    "all": """\
        total = 1.0
        for i in range(width):
            total *= memory[x + i * next_x]""",
    "any": """\
        total = 0.0
        for i in range(width):
            total = maximum(total, memory[x + i * next_x])""",
}
_TYPES = {"float64": np.float64, "float32": np.float32, "bool": np.uint8}
_CODES = {name: code for code, name in enumerate((*_TYPES, *_EACH, *_WHOLE))}

# A row of the program: what to do, where the result goes, how many entries there are, and where each operand is: its
# place in the memory of results and the step to its next entry, 0 for a number among vectors. Of what is loaded x is
# the address's number, y the offset from there. Everything is loaded before anything is stored.
_KERNEL = """
def kernel(program, addresses, memory, stores):
    for row in range(len(program)):
        code, out, width, x, next_x, y, next_y, z, next_z = program[row]
{operations}
    for row in range(len(stores)):
        code, number, offset, x, width = stores[row]
{stores}
"""
_LOAD = """\
    if code == {code}:
        there = carray(at(addresses[x] + y), width, {kind})
        for i in range(width):
            memory[out + i] = there[i]
        continue
"""
_COMPUTE = """\
    for i in range(width):
        a, b, c = memory[x + i * next_x], memory[y + i * next_y], memory[z + i * next_z]
{branches}
"""
_BRANCH = """\
        if code == {code}:
            memory[out + i] = {result}
            continue
"""
_REDUCE = """\
    if code == {code}:
{result}
        memory[out] = total
        continue
"""
_STORE = """\
    if code == {code}:
        there = carray(at(addresses[number] + offset), width, {kind})
        for i in range(width):
            there[i] = memory[x + i]
        continue
"""


class Program:
    """A formula, ready to be run again and again."""

    def __init__(self, formula: Graph) -> None:
        self._formula, self._kernel = formula, _kernel()
        self._known: list[int] = []
        self._addresses = np.zeros(0, np.int64)
        self._memory, self._program, self._stores = _laid_out(formula)

    def run(self) -> None:
        """Read what the formula loads, compute it, and store what it stores."""
        formula, memory = self._formula, self._memory
        for place, (owner, name) in formula.settings.items():
            memory[place] = owner[name]
        addresses = list(map(torch.Tensor.data_ptr, formula.tensors))
        if addresses != self._known:
            self._known, self._addresses = addresses, np.array(addresses, np.int64)
        self._kernel(self._program, self._addresses, memory, self._stores)


def _laid_out(formula: Graph) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The memory of all results, with the formula's numbers at its beginning; the program; and the stores."""
    memory = list(formula.numbers)
    places: list[tuple[int, int]] = []  # of each operation's result, and the step to its next entry
    rows: list[Sequence[int]] = []

    def put(vector: bool) -> tuple[int, int]:
        place = len(memory), int(vector)
        memory.extend([0.0] * (formula.length if vector else 1))
        return place

    def compute(name: str, vector: bool, width: int, *operands: int) -> tuple[int, int]:
        place = put(vector)
        rows.append((_CODES[name], place[0], width, *operands, *[0] * (6 - len(operands))))
        return place

    for name, *arguments in formula.operations:
        if name == "number":
            places.append((arguments[0], 0))
        elif name in ("constant", "true", "false"):
            places.append(put(False))
            memory[-1] = arguments[0] if arguments else float(name == "true")
        elif name == "as_number":  # truth is one already
            places.append(places[arguments[0]])
        elif name == "load":
            number, entry, kind = arguments
            width = formula.length if entry < 0 else 1
            places.append(compute(kind, entry < 0, width, number, 0, _offset(entry, kind)))
        else:
            operands = [places[argument] for argument in arguments]
            vector = name not in _WHOLE and any(step for _, step in operands)
            width = formula.length if vector or name in _WHOLE else 1
            places.append(compute(name, vector, width, *(number for operand in operands for number in operand)))
    stores = [
        (_CODES[kind], number, _offset(entry, kind), places[value][0], formula.length if entry < 0 else 1)
        for number, entry, kind, value in formula.stores()
    ]
    return np.array(memory), np.array(rows, np.int64).reshape(-1, 9), np.array(stores, np.int64).reshape(-1, 5)


def _offset(entry: int, kind: str) -> int:
    """Bytes from the beginning of a tensor to an entry, or to all of them (-1)."""
    return max(entry, 0) * np.dtype(_TYPES[kind]).itemsize


@cache
def _kernel() -> Callable[..., None]:
    branches = [_BRANCH.format(code=_CODES[name], result=result) for name, result in _EACH.items()]
    operations = [
        *(_LOAD.format(code=_CODES[name], kind=name) for name in _TYPES),
        *(_REDUCE.format(code=_CODES[name], result=result) for name, result in _WHOLE.items()),
        _COMPUTE.format(branches="".join(branches)),
    ]
    stores = [_STORE.format(code=_CODES[name], kind=name) for name in _TYPES]
    source = _KERNEL.format(operations=indent("".join(operations), "    "), stores=indent("".join(stores), "    "))
    signature = types.void(types.int64[:, ::1], types.int64[::1], types.float64[::1], types.int64[:, ::1])
    return compile_kernel("decide", source, _TYPES, None, signature)
