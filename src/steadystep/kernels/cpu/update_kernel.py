"""The update kernel: a rule compiled into one pass that reads, clips, updates and writes each element."""

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import njit, types

from steadystep.kernels.codegen import Equation, arguments_read, indented, local_name
from steadystep.kernels.cpu import intrinsics
from steadystep.kernels.cpu.jit import compile_kernel
from steadystep.kernels.cpu.parallel import COUNTERS_AND_CHUNKS, parallel_kernel
from steadystep.kernels.update_rms import SMALL

BLOCK = 128
"""Elements in a block: a loop of constant length, which LLVM vectorises without a remainder."""

AHEAD = 4
"""How many blocks ahead of the current one are prefetched: a processor does not follow so many arrays by itself."""

TRANSFORM = ("before", "before_again", "bound", "after", "after_again")
"""What clipping does to a tensor's elements: clamp(g * before * before_again, bound) * after * after_again.

A factor is applied as two numbers, because 1e-40 is not a normal float32 number and its root is.
"""

UNTRANSFORMED = (1.0, 1.0, float("inf"), 1.0, 1.0)
"""The same for a tensor that is not clipped."""

SETTINGS = ("direction", "coupled", "shrink")
"""What all tensors share besides the rule's coefficients; see `codegen.direction_and_decay`."""

NOISE = np.random.RandomState(0).randint(1 << 32, size=BLOCK, dtype=np.uint32)
"""Random bits for the elements of a block, to which each block of each step adds a random number."""

Kernel = Callable[..., None]

_CHUNK = """\
blocks = length // BLOCK
{per_tensor}
for block in range(blocks):
    first = start + block * BLOCK
    {block_arrays}
    {prefetches}
    for i in range(BLOCK):
        {block_element}
    {block_end}
first = start + blocks * BLOCK
rest = length - blocks * BLOCK
{rest_arrays}
for i in range(rest):
    {rest_element}
{block_end_of_rest}
{end}
"""


@njit(**intrinsics.STRICT)
def _transformed(g, before, before_again, bound, after, after_again):
    g = g * before * before_again
    g = bound if g > bound else (-bound if g < -bound else g)  # NaN stays NaN
    return g * after * after_again


@cache
def update_kernel(
    equation: Equation,
    dtype: torch.dtype,
    grad_dtype: torch.dtype,
    plain: bool = False,
    stored: torch.dtype | None = None,
) -> Kernel:
    """Compile the kernel that writes updated parameters and state.

    It adds up the squares of what it adds to each chunk, in `totals` (chunks + 1, 1), whose last entry it sets to 1 if
    such a sum is not finite: because anything that it wrote is not, or because the sum overflows.

    Args:
        equation: the rule.
        dtype: of the parameters.
        grad_dtype: of the gradients: `dtype`, or float32 where clippers have worked on half precision before.
        plain: leave out what most steps multiply by 1: all of the transform but its first factor, weight decay, and the
            limit of the update. The results are the same, bit for bit.
        stored: of the state: None for the precision of the update, or bfloat16, to which it is rounded at random.
    """
    new = [f"new{slot}" for slot in range(equation.slots)]
    element = [
        f"{', '.join(['q', *new])}, = {equation.call(equation.update)}",
        *(f"{value} = flushed({value})" for value in new if stored is None),
        "written = store(q)" if plain else "written = store(p + limit * (q - p) if limit < 1 else q)",
        "P[i] = written",
        *_stores(new, stored),
        "change = load(written) - old",
        "squares = add_product(squares, change, change)",
        # 0 unless the state is not finite, and then the sum is not either.
        *([f"zeros = add_product(zeros, number(0), {' + '.join(new)})"] if new else []),
    ]
    per_tensor = (*map(local_name, equation.factors), "limit")
    purpose = "plain_update" if plain else "update"
    return _compile(purpose, equation, equation.update, (dtype, grad_dtype, stored), per_tensor, element)


def _stores(new: Sequence[str], stored: torch.dtype | None) -> list[str]:
    """Return the source that writes the new state. Two slots share the 32 random bits of an element."""
    if stored is None:
        return [f"S{slot}[i] = {value}" for slot, value in enumerate(new)]
    return [
        f"S{slot}[i] = rounded_at_random({value}, uint32((NOISE[i] + salt{slot // 2}) >> {16 * (slot % 2)}))"
        for slot, value in enumerate(new)
    ]


def _salts(slots: int) -> list[str]:
    """Return the source of what a block adds to the noise: random bits of the step, the tensor and the block.

    The number of the step is the last of the shared numbers. A resumed run rounds as it would have done.
    """
    numbers = [f"uint32({name}) * GOLDEN" for name in ("int64(shared[-1])", "tensor", "first")]
    mixed = "uint32(0)"
    for number in numbers:
        mixed = f"random_bits(uint32({number} + {mixed}))"
    more = [f"salt{pair} = random_bits(uint32(salt{pair - 1} + GOLDEN))" for pair in range(1, (slots + 1) // 2)]
    return [f"salt0 = {mixed}", *more]


@cache
def sums_kernel(
    equation: Equation,
    dtype: torch.dtype,
    grad_dtype: torch.dtype,
    plain: bool = False,
    stored: torch.dtype | None = None,
) -> Kernel:
    """Compile the kernel that adds up the terms of the rule's `sums` over each chunk; `plain` as for updates."""
    assert equation.sums is not None, "only a rule with sums has such a kernel"
    terms = [f"term{number}" for number in range(equation.terms)]
    element = [
        f"{', '.join(terms)}, = {equation.call(equation.sums)}",
        *(f"block{number} += {term}" for number, term in enumerate(terms)),
    ]
    purpose = "plain_sums" if plain else "sums"
    return _compile(purpose, equation, equation.sums, (dtype, grad_dtype, stored), (), element, len(terms))


@cache
def rms_kernel(
    equation: Equation,
    dtype: torch.dtype,
    grad_dtype: torch.dtype,
    from_zero: bool,
    stored: torch.dtype | None = None,
) -> Kernel:
    """Compile the kernel that adds up `update_rms.squares` of the update over each chunk, all in float64."""
    unused = [f"_{slot}" for slot in range(equation.slots)]
    element = [
        "origin = 0.0 * p" if from_zero else "origin = p",
        f"{', '.join(['q', *unused])}, = {equation.call(equation.update, 'float64(s{slot})', 'origin')}",
        "update = q - origin",
        "block0 += update * update",
        f"block1 += ({SMALL!r} * update) * ({SMALL!r} * update)",
    ]
    purpose = "rms" if from_zero else "rms_within"
    per_tensor = tuple(map(local_name, equation.factors))
    return _compile(purpose, equation, equation.update, (dtype, grad_dtype, stored), per_tensor, element, 2)


def _compile(
    purpose: str,
    equation: Equation,
    function: Callable[..., Any],
    dtypes: tuple[torch.dtype, torch.dtype, torch.dtype | None],
    per_tensor: Sequence[str],
    element: Sequence[str],
    sums: int = 0,
) -> Kernel:
    updates = sums == 0
    read = [
        "g = direction * transformed(load_grad(G[i]), before, before_again, bound, after, after_again)",
        "p = load(P[i])",
        *["old = p"] * updates,
        "g = g + coupled * p if coupled != 0 else g",  # 0 * inf is NaN
        "p = shrink * p",
    ]
    if purpose.startswith("plain"):
        read = ["g = load_grad(G[i]) * before", "p = load(P[i])", *["old = p"] * updates]
    read += [f"s{slot} = load_state(S{slot}[i])" for slot in range(equation.slots)]
    totals = [f"total{number}" for number in range(sums or 1)]
    salts = _salts(equation.slots) if updates and dtypes[2] is not None else []
    # Within a block, sums are taken in the precision of the update; blocks are added up in float64.
    if updates:
        start, stop = ["squares = number(0)", "zeros = number(0)"], ["total0 += float64(squares + zeros)"]
    else:
        start = [f"block{number} = number(0)" for number in range(sums)]
        stop = [f"total{number} += float64(block{number})" for number in range(sums)]
    found = ["if not total0 < inf:", "    totals[len(table), 0] = 1.0"] if updates else []
    shared = [f"{x} = number(shared[{k}])" for k, x in enumerate((*SETTINGS, *map(local_name, equation.shared)))]
    each = _CHUNK.format(
        per_tensor=indented(
            0,
            [f"{x} = number(transform[tensor, {k}])" for k, x in enumerate(TRANSFORM)]
            + [f"{x} = number(per_tensor[tensor, {k}])" for k, x in enumerate(per_tensor)]
            + ["before = direction * before"] * purpose.startswith("plain")
            + [f"{total} = 0.0" for total in totals],
        ),
        block_arrays=indented(4, [*_arrays(equation.slots, "BLOCK"), *salts, *start]),
        prefetches=indented(4, _prefetches(equation.slots, arguments_read(function) | ({0, 1} if updates else set()))),
        block_element=indented(8, [*read, *element]),
        block_end=indented(4, stop),
        rest_arrays=indented(0, [*_arrays(equation.slots, "rest"), *salts, *start]),
        rest_element=indented(4, [*read, *element]),
        block_end_of_rest=indented(0, stop),
        end=indented(0, [*(f"totals[chunk, {number}] = {total}" for number, total in enumerate(totals)), *found]),
    )
    stored, grad = (str(dtype).removeprefix("torch.") for dtype in dtypes[:2])
    module = function.__module__.rpartition(".")[2]
    wide = stored == "float64"
    state = str(dtypes[2] or ("torch.float64" if wide else "torch.float32")).removeprefix("torch.")
    names = {
        "BLOCK": BLOCK,
        "AHEAD": AHEAD,
        "STORED": intrinsics.STORED[stored],
        "SIZE": dtypes[0].itemsize,
        "GRAD": intrinsics.STORED[grad],
        "GRAD_SIZE": dtypes[1].itemsize,
        "STATE": intrinsics.STORED[state],
        "STATE_SIZE": np.dtype(intrinsics.STORED[state]).itemsize,
        "load_state": intrinsics.LOADS[state],
        "uint32": np.uint32,
        "NOISE": NOISE,
        "GOLDEN": np.uint32(0x9E3779B9),
        "int64": np.int64,
        "number": np.float64 if wide or purpose.startswith("rms") else np.float32,
        "load": intrinsics.LOADS[stored],
        "load_grad": intrinsics.LOADS[grad],
        "store": intrinsics.STORES[stored],
        "transformed": _transformed,
        "flushed": intrinsics.FLUSHED["float64" if wide else "float32"],
    }
    signature = types.void(
        *COUNTERS_AND_CHUNKS, types.int64[:, ::1],
        types.float64[:, ::1], types.float64[::1], types.float64[:, ::1], types.float64[:, ::1],
    )  # fmt: skip
    name = f"{module}_{function.__name__}_{purpose}_{stored}" + (f"_{grad}" if grad != stored else "")
    name += "_compact" if dtypes[2] is not None else ""
    source = parallel_kernel("pointers, transform, shared, per_tensor, totals", each, before="\n".join(shared))
    # Only sums may be reordered into vectors: a rule is evaluated as it is written.
    return compile_kernel(name, source, names, function, signature, fastmath={"reassoc"} if sums else False)


def _columns(slots: int) -> list[tuple[str, str, str]]:
    """Return the names of the arrays of gradient, parameter and state, of their types, and of their elements' sizes."""
    return [
        ("G", "GRAD", "GRAD_SIZE"),
        ("P", "STORED", "SIZE"),
        *((f"S{slot}", "STATE", "STATE_SIZE") for slot in range(slots)),
    ]


def _arrays(slots: int, length: str) -> list[str]:
    """Return the source of the arrays from element `first` on."""
    return [
        f"{name} = carray(at(pointers[tensor, {column}] + first * {size}), {length}, {stored})"
        for column, (name, stored, size) in enumerate(_columns(slots))
    ]


def _prefetches(slots: int, columns: Collection[int]) -> list[str]:
    """Return the source that prefetches a later block of the arrays with these numbers."""
    return [
        line
        for column, (_, _, size) in enumerate(_columns(slots))
        if column in columns
        for line in (
            f"ahead = pointers[tensor, {column}] + (first + AHEAD * BLOCK) * {size}",
            f"for line in range(BLOCK * {size} // 64):",
            "    prefetch(ahead + 64 * line)",
        )
    ]
