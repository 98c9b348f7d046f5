"""A formula as one kernel of one program: what a step decides, computed on the device in float64."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl

from steadystep.kernels.codegen import lines
from steadystep.kernels.cuda import intrinsics
from steadystep.kernels.cuda.intrinsics import bits_of_magnitude
from steadystep.kernels.cuda.jit import jitted
from steadystep.kernels.cuda.runtime import launch
from steadystep.tracing.graph import Graph

# What runs on the device is Triton, which only looks like Python: types mean nothing in here.
# pyright: basic, reportGeneralTypeIssues=false, reportAttributeAccessIssue=false, reportArgumentType=false

# All is loaded before anything is stored, whichever thread does it.
_KERNEL = """
def decide(words, length, BLOCK: tl.constexpr):
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
    "power": "tl.where({2} == 1.0, {0}, tl.exp({2} * {1}))",  # whose rounding is far below that of 1 - base**t
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
    """Of numbers that are not negative; NaN if one is."""
    bits = bits_of_magnitude(tl.where(inside, x, 0.0))
    return tl.max(bits, axis=0).to(tl.float64, bitcast=True)


@triton.jit
def norm(x, inside):
    """Euclidean, scaled so that no square overflows or vanishes."""
    x = tl.where(inside, x, 0.0)
    peak = largest(x, inside)
    scale = tl.where((peak > 0.0) & (peak < float("inf")), peak, 1.0)
    x = x / scale
    return scale * tl.sqrt(tl.sum(x * x, axis=0))


def decide(formula: Graph, words: torch.Tensor) -> None:
    """Compute a formula whose `words` are on the device."""
    if formula.kernel is None:
        formula.kernel = kernel_of(formula)
    block = triton.next_power_of_2(max(16, formula.length))
    launch(formula.kernel, 1, words.device, words, formula.length, BLOCK=block)


def kernel_of(formula: Graph) -> Any:
    """Its kernel, whose first argument is `deferred.words` on the device; formulas of one structure share it."""
    return _kernel(tuple(formula.operations), formula.stores(), len(formula.tensors))


@cache
def _kernel(operations: Sequence[tuple[Any, ...]], stores: Sequence[tuple[Any, ...]], tensors: int) -> Any:
    """The kernel of all formulas of one structure."""
    computed = [f"x{number} = {_source(tensors, *operation)}" for number, operation in enumerate(operations)]
    source = _KERNEL.format(
        operations=lines(4, computed),
        stores=lines(4, [_store(*store) for store in stores]),
    )
    helpers = (intrinsics.minimum, intrinsics.maximum, largest, norm)
    return jitted("decide", source, {helper.__name__: helper for helper in helpers}, unspecialised=("words",))


def _source(tensors: int, name: str, *arguments: Any) -> str:
    match name:
        case "load":
            return (
                f"tl.load({_address(*arguments)}{', mask=inside, other=0' if arguments[1] < 0 else ''}).to(tl.float64)"
            )
        case "number":
            return f"tl.load(words + {tensors + arguments[0]}).to(tl.float64, bitcast=True)"
        case "constant":
            return f"tl.full([], {arguments[0]}, tl.float64)"
    return _SOURCES[name].format(*(f"x{argument}" for argument in arguments))


def _store(place: int, entry: int, kind: str, value: int) -> str:
    mask = ", mask=inside" if entry < 0 else ""
    return f"tl.store({_address(place, entry, kind)}, x{value}.to({_POINTED[kind]}){mask})"


def _address(place: int, entry: int, kind: str) -> str:
    pointer = f"tl.load(words + {place}).to(tl.pointer_type({_POINTED[kind]}))"
    return f"{pointer} + {'lanes' if entry < 0 else entry}"
