"""The graph kernel: a compiled loop over the nodes of a graph, in float64.

One kernel evaluates all graphs. It interprets a table with a row for each node, because compiling a kernel for every
graph would take seconds.
"""

from collections.abc import Callable, Sequence
from functools import cache
from textwrap import indent

import numpy as np
from numba import types

from steadystep.kernels.cpu.jit import compile_kernel
from steadystep.tracing.graph import Graph

# Elementwise operations: an entry of the result from the entries a, b, c of the operands. True is 1.0, false is 0.0.
_ELEMENTWISE = {
    "add": "a + b",
    "subtract": "a - b",
    "multiply": "a * b",
    "divide": "a / b",
    "power": "a ** c",  # b is the logarithm of the base, for kernels without a power
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
# Reductions: a number from all entries of a vector.
_REDUCTIONS = {
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
_CODES = {name: code for code, name in enumerate((*_TYPES, *_ELEMENTWISE, *_REDUCTIONS))}

# A row of the program holds the code of the operation, the position of its result, the number of entries, and for each
# operand its position in the memory of results and the step to its next entry (0 for a number among vectors). For a
# load, x is the index of the address and y the offset in bytes. All loads happen before the first store.
_KERNEL = """
def kernel(program, addresses, memory, stores):
    for row in range(len(program)):
        code, out, width, x, next_x, y, next_y, z, next_z = program[row]
{operations}
    for row in range(len(stores)):
        code, number, offset, x, width, next_x = stores[row]
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
            there[i] = memory[x + i * next_x]
        continue
"""


class GraphProgram:
    """A graph, laid out in memory so that the kernel can evaluate it repeatedly."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self._kernel = graph, _kernel()
        self._known_addresses: Sequence[int] = ()
        self._addresses = np.zeros(0, np.int64)
        self._memory, self._program, self._stores = _layout(graph)

    def run(self, addresses: Sequence[int]) -> None:
        """Load the graph's inputs, evaluate its nodes, and store its results, given the addresses of its tensors."""
        graph, memory = self._graph, self._memory
        for place, (group, name) in graph.options.items():
            memory[place] = group[name]
        if addresses is not self._known_addresses:
            self._known_addresses, self._addresses = addresses, np.array(addresses, np.int64)
        self._kernel(self._program, self._addresses, memory, self._stores)


def _layout(graph: Graph) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the memory of all results, which begins with the graph's numbers, the program, and the stores."""
    memory = list(graph.numbers)
    places: list[tuple[int, int]] = []  # of each node's result, and the step to its next entry
    rows: list[Sequence[int]] = []

    def allocate(vector: bool) -> tuple[int, int]:
        place = len(memory), int(vector)
        memory.extend([0.0] * (graph.length if vector else 1))
        return place

    def compute(name: str, vector: bool, width: int, *operands: int) -> tuple[int, int]:
        place = allocate(vector)
        rows.append((_CODES[name], place[0], width, *operands, *[0] * (6 - len(operands))))
        return place

    for name, *arguments in graph.nodes:
        if name == "number":
            places.append((arguments[0], 0))
        elif name in ("constant", "true", "false"):
            places.append(allocate(False))
            memory[-1] = arguments[0] if arguments else float(name == "true")
        elif name == "as_number":  # truth values are stored as numbers
            places.append(places[arguments[0]])
        elif name == "load":
            number, entry, dtype = arguments
            width = graph.length if entry < 0 else 1
            places.append(compute(dtype, entry < 0, width, number, 0, _offset(entry, dtype)))
        else:
            operands = [places[argument] for argument in arguments]
            vector = name not in _REDUCTIONS and any(step for _, step in operands)
            width = graph.length if vector or name in _REDUCTIONS else 1
            places.append(compute(name, vector, width, *(number for operand in operands for number in operand)))
    stores = [
        (_CODES[dtype], number, _offset(entry, dtype), places[node][0], _width(graph, entry), places[node][1])
        for number, entry, dtype, node in graph.stores()
    ]
    return np.array(memory), np.array(rows, np.int64).reshape(-1, 9), np.array(stores, np.int64).reshape(-1, 6)


def _width(graph: Graph, entry: int) -> int:
    """Return how many entries of a tensor are stored: one, all of a vector (-1), or the first n (-1 - n)."""
    return 1 if entry >= 0 else graph.length if entry == -1 else -1 - entry


def _offset(entry: int, dtype: str) -> int:
    """Return the offset in bytes of an entry from the start of its tensor; negative entries stand for several."""
    return max(entry, 0) * np.dtype(_TYPES[dtype]).itemsize


@cache
def _kernel() -> Callable[..., None]:
    branches = [_BRANCH.format(code=_CODES[name], result=result) for name, result in _ELEMENTWISE.items()]
    operations = [
        *(_LOAD.format(code=_CODES[name], kind=name) for name in _TYPES),
        *(_REDUCE.format(code=_CODES[name], result=result) for name, result in _REDUCTIONS.items()),
        _COMPUTE.format(branches="".join(branches)),
    ]
    stores = [_STORE.format(code=_CODES[name], kind=name) for name in _TYPES]
    source = _KERNEL.format(operations=indent("".join(operations), "    "), stores=indent("".join(stores), "    "))
    signature = types.void(types.int64[:, ::1], types.int64[::1], types.float64[::1], types.int64[:, ::1])
    return compile_kernel("graph", source, _TYPES, None, signature)
