"""The graph kernel: one kernel with a single program that evaluates all nodes of a graph on the device, in float64."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl

from steadystep.kernels.codegen import indented
from steadystep.kernels.cuda import intrinsics
from steadystep.kernels.cuda.intrinsics import bits_of_magnitude
from steadystep.kernels.cuda.jit import make_function
from steadystep.kernels.cuda.runtime import launch
from steadystep.tracing.graph import Graph

# Triton code only looks like Python: its types mean nothing to a type checker.
# pyright: basic, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportArgumentType=false

# All loads of all threads happen before the first store.
_KERNEL = """
def evaluate(arguments, length, BLOCK: tl.constexpr):
    lanes = tl.arange(0, BLOCK)
    inside = lanes < length
    {operations}
    tl.debug_barrier()
    {stores}
"""

_SOURCES = {
    "true": "tl.full([], 1, tl.int1)",
    "false": "tl.full([], 0, tl.int1)",
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "power": "tl.where({2} == 1.0, {0}, tl.exp({2} * {1}))",  # its rounding error is far below that of 1 - base**t
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "minimum": "minimum({0}, {1})",
    "maximum": "maximum({0}, {1})",
    "both": "{0} & {1}",
    "either": "{0} | {1}",
    "not": "{0} == 0",
    "choose": "tl.where({0}, {1}, {2})",
    "magnitude": "tl.abs({0})",
    "sqrt": "tl.sqrt({0})",
    "as_number": "{0}.to(tl.float64)",
    "isfinite": "tl.abs({0}) < float('inf')",
    "largest": "largest({0}, inside)",
    "norm": "norm({0}, inside)",
    "all": "tl.min(tl.where(inside, {0}.to(tl.int32), 1), axis=0) != 0",
    "any": "tl.max(tl.where(inside, {0}.to(tl.int32), 0), axis=0) != 0",
}
_POINTED = {"float64": "tl.float64", "float32": "tl.float32", "bool": "tl.int8"}


@triton.jit
def largest(x, inside):
    """Return the largest of some non-negative numbers, or NaN if any is NaN."""
    bits = bits_of_magnitude(tl.where(inside, x, 0.0))
    return tl.max(bits, axis=0).to(tl.float64, bitcast=True)


@triton.jit
def norm(x, inside):
    """Return the Euclidean norm; no square overflows or underflows."""
    x = tl.where(inside, x, 0.0)
    peak = largest(x, inside)
    scale = tl.where((peak > 0.0) & (peak < float("inf")), peak, 1.0)
    x = x / scale
    return scale * tl.sqrt(tl.sum(x * x, axis=0))


def evaluate(graph: Graph, kernel: Any, arguments: torch.Tensor) -> None:
    """Evaluate a graph with its kernel, reading `Graph.arguments` on the device."""
    block = triton.next_power_of_2(max(16, graph.length))
    launch(kernel, 1, arguments.device, arguments, graph.length, BLOCK=block)


def kernel_of(graph: Graph) -> Any:
    """Return the kernel of a graph; graphs with the same structure share a kernel."""
    return _kernel(tuple(graph.nodes), graph.stores(), len(graph.tensors))


@cache
def _kernel(nodes: Sequence[tuple[Any, ...]], stores: Sequence[tuple[Any, ...]], tensors: int) -> Any:
    computed = [f"x{number} = {_source(tensors, *node)}" for number, node in enumerate(nodes)]
    source = _KERNEL.format(
        operations=indented(4, computed),
        stores=indented(4, [_store(*store) for store in stores]),
    )
    functions = (intrinsics.minimum, intrinsics.maximum, largest, norm)
    names = {function.__name__: function for function in functions}
    return make_function("evaluate", source, names, unspecialised=("arguments",))


def _source(tensors: int, name: str, *operands: Any) -> str:
    match name:
        case "load":
            mask = ", mask=inside, other=0" if operands[1] < 0 else ""
            return f"tl.load({_address(*operands)}{mask}).to(tl.float64)"
        case "number":
            return f"tl.load(arguments + {tensors + operands[0]}).to(tl.float64, bitcast=True)"
        case "constant":
            return f"tl.full([], {operands[0]}, tl.float64)"
    return _SOURCES[name].format(*(f"x{operand}" for operand in operands))


def _store(place: int, entry: int, dtype: str, node: int) -> str:
    mask = "" if entry >= 0 else ", mask=inside" if entry == -1 else f", mask=lanes < {-1 - entry}"
    return f"tl.store({_address(place, entry, dtype)}, x{node}.to({_POINTED[dtype]}){mask})"


def _address(place: int, entry: int, dtype: str) -> str:
    pointer = f"tl.load(arguments + {place}).to(tl.pointer_type({_POINTED[dtype]}))"
    return f"{pointer} + {'lanes' if entry < 0 else entry}"
