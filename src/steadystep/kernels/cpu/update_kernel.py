"""A rule over many tensors, compiled: each element is read, clipped, updated and written in one pass."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import njit, types

from steadystep.kernels.codegen import Equation, lines, local_name
from steadystep.kernels.cpu import intrinsics
from steadystep.kernels.cpu.jit import compile_kernel
from steadystep.kernels.cpu.parallel import parallel_kernel
from steadystep.kernels.update_rms import SMALL

BLOCK = 1024
"""Elements of a loop of constant length, which LLVM turns into vectors without a remainder."""

STAGE = ("before", "before_again", "bound", "after", "after_again")
"""What clipping does to a tensor's elements: clamp(g * before * before_again, bound) * after * after_again.

Factors come as two numbers, because one of 1e-40 is no normal float32 and its root is.
"""

NOTHING = (1.0, 1.0, float("inf"), 1.0, 1.0)
"""The same for a tensor that is not clipped."""

SETTINGS = ("direction", "coupled", "shrink")
"""What all tensors share besides the rule's coefficients: -1 to climb, L2 decay, and decoupled decay's factor."""

Kernel = Callable[..., None]

_CHUNK = """\
blocks = length // BLOCK
{own}
for block in range(blocks):
    first = start + block * BLOCK
    {block_arrays}
    for i in range(BLOCK):
        {block_element}
first = start + blocks * BLOCK
rest = length - blocks * BLOCK
{rest_arrays}
for i in range(rest):
    {rest_element}
{end}
"""


@njit(**intrinsics.STRICT)
def _staged(g, before, before_again, bound, after, after_again):
    g = g * before * before_again
    g = bound if g > bound else (-bound if g < -bound else g)  # NaN stays NaN
    return g * after * after_again


@cache
def update_kernel(equation: Equation, dtype: torch.dtype, given: torch.dtype, plain: bool = False) -> Kernel:
    """Writes the updated parameter and state; `own` holds the tensor's factors, then the limit of its move.

    `given` is the gradients' type: the parameters', or float32 where clippers have worked on half precision before.
    A `plain` one leaves out what most steps multiply by 1: of the transform it applies the first factor alone, and neither
    decay nor the limit. Its numbers are those of the other, bit for bit.
    """
    moved = [f"moved{slot}" for slot in range(equation.slots)]
    element = [
        f"{', '.join(['q', *moved])}, = {equation.call(equation.update)}",
        "P[i] = store(q)" if plain else "P[i] = store(p + limit * (q - p) if limit < 1 else q)",
        *(f"S{slot}[i] = {value}" for slot, value in enumerate(moved)),
    ]
    own = (*map(local_name, equation.factors), "limit")
    purpose = "plain_update" if plain else "update"
    return _compiled(purpose, equation, equation.update, (dtype, given), own, element)


@cache
def sums_kernel(equation: Equation, dtype: torch.dtype, given: torch.dtype) -> Kernel:
    """Adds up what the rule's `sums` gives for each element."""
    assert equation.sums is not None, "only a rule with sums has such a kernel"
    terms = [f"term{number}" for number in range(equation.terms)]
    element = [
        f"{', '.join(terms)}, = {equation.call(equation.sums)}",
        *(f"total{number} += float64({term})" for number, term in enumerate(terms)),
    ]
    return _compiled("sums", equation, equation.sums, (dtype, given), (), element, len(terms))


@cache
def move_kernel(equation: Equation, dtype: torch.dtype, given: torch.dtype, from_zero: bool) -> Kernel:
    """Adds up the squares of `move.squares` of what the rule would change the parameter by; all in float64."""
    unused = [f"_{slot}" for slot in range(equation.slots)]
    element = [
        "origin = 0.0 * p" if from_zero else "origin = p",
        f"{', '.join(['q', *unused])}, = {equation.call(equation.update, 'float64(S{slot}[i])', 'origin')}",
        "moved = q - origin",
        "total0 += moved * moved",
        f"total1 += ({SMALL!r} * moved) * ({SMALL!r} * moved)",
    ]
    purpose = "move" if from_zero else "move_within"
    own = tuple(map(local_name, equation.factors))
    return _compiled(purpose, equation, equation.update, (dtype, given), own, element, 2)


def _compiled(
    purpose: str,
    equation: Equation,
    function: Callable[..., Any],
    stored: tuple[torch.dtype, torch.dtype],
    own: Sequence[str],
    element: Sequence[str],
    sums: int = 0,
) -> Kernel:
    read = [
        "g = direction * staged(load_given(G[i]), before, before_again, bound, after, after_again)",
        "p = load(P[i])",
        "g = g + coupled * p if coupled != 0 else g",  # 0 * inf is NaN
        "p = shrink * p",
    ]
    if purpose == "plain_update":
        read = ["g = load_given(G[i]) * before", "p = load(P[i])"]
    totals = [f"total{number}" for number in range(sums)]
    shared = [f"{x} = number(shared[{k}])" for k, x in enumerate((*SETTINGS, *map(local_name, equation.shared)))]
    each = _CHUNK.format(
        own=lines(
            0,
            [f"{x} = number(transform[tensor, {k}])" for k, x in enumerate(STAGE)]
            + [f"{x} = number(own[tensor, {k}])" for k, x in enumerate(own)]
            + ["before = direction * before"] * (purpose == "plain_update")
            + [f"{total} = 0.0" for total in totals],
        ),
        block_arrays=lines(4, _arrays(equation.slots, "BLOCK")),
        block_element=lines(8, [*read, *element]),
        rest_arrays=lines(0, _arrays(equation.slots, "rest")),
        rest_element=lines(4, [*read, *element]),
        end=lines(0, [f"totals[chunk, {number}] = {total}" for number, total in enumerate(totals)]),
    )
    kind, given = (str(dtype).removeprefix("torch.") for dtype in stored)
    module = function.__module__.rpartition(".")[2]
    wide = kind == "float64"
    names = {
        "BLOCK": BLOCK,
        "STORED": intrinsics.STORED[kind],
        "SIZE": stored[0].itemsize,
        "GIVEN": intrinsics.STORED[given],
        "GIVEN_SIZE": stored[1].itemsize,
        "STATE": intrinsics.STORED["float64" if wide else "float32"],
        "STATE_SIZE": 8 if wide else 4,
        "number": np.float64 if wide or purpose.startswith("move") else np.float32,
        "load": intrinsics.LOADS[kind],
        "load_given": intrinsics.LOADS[given],
        "store": intrinsics.STORES[kind],
        "staged": _staged,
    }
    signature = types.void(
        types.int64[::1], types.int64[:, ::1], types.int64[:, ::1],
        types.float64[:, ::1], types.float64[::1], types.float64[:, ::1], types.float64[:, ::1],
    )  # fmt: skip
    # Only the sums may be reordered into vectors: a rule is evaluated as it is written.
    name = f"{module}_{function.__name__}_{purpose}_{kind}" + (f"_{given}" if given != kind else "")
    source = parallel_kernel("pointers, transform, shared, own, totals", each, before="\n".join(shared))
    return compile_kernel(name, source, names, function, signature, fastmath={"reassoc"} if sums else False)


def _arrays(slots: int, length: str) -> list[str]:
    """The stretch of memory from element `first` on of gradient, parameter and state."""
    columns = [("G", "GIVEN", "GIVEN_SIZE"), ("P", "STORED", "SIZE")]
    columns += [(f"S{slot}", "STATE", "STATE_SIZE") for slot in range(slots)]
    return [
        f"{name} = carray(at(pointers[tensor, {column}] + first * {size}), {length}, {stored})"
        for column, (name, stored, size) in enumerate(columns)
    ]
