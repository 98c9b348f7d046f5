"""The update kernel: a rule compiled into one kernel that reads, clips, updates and writes each element."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
import triton.language as tl

from steadystep.kernels.codegen import Equation, indented, local_name
from steadystep.kernels.cuda import intrinsics
from steadystep.kernels.cuda.jit import bind_rule, make_function
from steadystep.kernels.update_rms import SMALL

POINTERS = (
    "table",  # of `Chunks`
    "columns",  # (tensors, 2 + slots), int64: index of the gradient, addresses of parameter and state
    "gradients",  # (all gradients,), int64: addresses
    "shared",  # float64: SETTINGS and the coefficients that all tensors share
    "before",  # float64: factors applied before elements are bounded: one, one per gradient, or None
    "after",  # the same, applied after that
    "per_tensor",  # (tensors, factors of the rule), float64, or None
    "limits",  # (tensors,), float64: the limit of a tensor's update, or None
    "result",  # of an update: whether the step is accepted; of sums: (chunks, terms), float64
    "squares",  # (chunks,), float64: the squared norm of the update of each chunk, or None
    "flag",  # float64: set to 1 by an update that writes anything that is not finite, or None
)

CONSTANTS = ("GRAD", "EACH_BEFORE", "EACH_AFTER", "ALIGNED", "CHUNK", "BLOCK")
"""The type of gradients; whether each has its own factor, before and after; whether addresses are aligned; sizes."""

SETTINGS = ("direction", "coupled", "shrink", "bound")
"""What all tensors share besides the rule's coefficients: `direction_and_decay`, and the bound of an element."""

Element = Callable[[str], Sequence[str]]
"""From the mask of the elements within the tensor ("" if all are) to the source of what is done to a block."""

_KERNEL = """
def {name}({arguments}):
    chunk = tl.program_id(0)
    if {condition}:
        tensor = tl.load(table + 3 * chunk)
        start = tl.load(table + 3 * chunk + 1) * CHUNK
        length = tl.load(table + 3 * chunk + 2)
        row = columns + {width} * tensor
        index = tl.load(row)
        {variables}
        whole = length // BLOCK * BLOCK
        for first in range(0, whole, BLOCK):
            at = first + tl.arange(0, BLOCK)
            {block}
        if whole < length:
            at = whole + tl.arange(0, BLOCK)
            inside = at < length
            {rest}
        {end}
"""


@cache
def update_kernel(equation: Equation, dtype: torch.dtype, limited: bool, stored: torch.dtype | None = None) -> Any:
    """Compile the kernel that writes the updated parameter and state, if the step is accepted.

    `stored` is the dtype of the state: None for the precision of the update, or bfloat16, to which it is rounded at
    random.
    """
    new = [f"new{slot}" for slot in range(equation.slots)]

    def element(mask: str) -> list[str]:
        return [
            f"{', '.join(['q', *new])}, = {equation.call(equation.update, 's{slot}')}",
            *(f"{value} = flushed({value})" for value in new),
            *(["q = tl.where(limit < 1, p + limit * (q - p), q)"] if limited else []),
            "q = narrow(q, STORED)",
            f"tl.store(P + at, q{mask})",
            *_stores(new, mask, stored),
            "change = widen(q).to(tl.float64) - old.to(tl.float64)",
            "square = change * change",
            # 0 unless the state is not finite, and then the sum is not either.
            *(f"square += 0.0 * {value}.to(tl.float64)" for value in new),
            f"total += {'tl.where(inside, square, 0.0)' if mask else 'square'}",
        ]

    limit = ["limit = tl.load(limits + tensor).to(MATH)"] if limited else []
    start = [*limit, "total = tl.zeros([BLOCK], tl.float64)", *(_salts(equation) if stored else [])]
    end = [
        "found = tl.sum(total, axis=0)",
        "tl.store(squares + chunk, found)",
        "if (found < float('inf')) == 0:",
        "    tl.store(flag, 1.0)",
    ]
    # The kernel of a refused step does not even read its tensors.
    return _kernel(
        "update", equation, equation.update, (dtype, stored), element, condition="tl.load(result)", start=start, end=end
    )


def _stores(new: Sequence[str], mask: str, stored: torch.dtype | None) -> list[str]:
    """Return the source that writes the new state. Two slots share the 32 random bits of an element."""
    if stored is None:
        return [f"tl.store(S{slot} + at, {value}{mask})" for slot, value in enumerate(new)]
    lines = []
    for slot, value in enumerate(new):
        if slot % 2 == 0:
            lines.append(f"noise = random_bits(at.to(tl.uint32) * GOLDEN + salt{slot // 2})")
        lines.append(f"tl.store(S{slot} + at, rounded_at_random({value}, noise >> {16 * (slot % 2)}){mask})")
    return lines


def _salts(equation: Equation) -> list[str]:
    """Return the source of what the noise of a chunk begins with; the number of the step is the last shared one."""
    step = f"tl.load(shared + {len(SETTINGS) + len(equation.shared)})"
    pairs = range(1, (equation.slots + 1) // 2)
    more = [f"salt{pair} = random_bits(salt{pair - 1} + GOLDEN)" for pair in pairs]
    return [f"salt0 = salt_of({step}, tensor, start)", *more]


@cache
def sums_kernel(equation: Equation, dtype: torch.dtype, stored: torch.dtype | None = None) -> Any:
    """Compile the kernel that adds up the terms of the rule's `sums` over each chunk."""
    assert equation.sums is not None, "only a rule with sums has such a kernel"
    terms = [f"term{number}" for number in range(equation.terms)]
    found = f"{', '.join(terms)}, = {equation.call(equation.sums, 's{slot}')}"
    return _summing("sums", equation, equation.sums, (dtype, stored), [found], terms)


@cache
def rms_kernel(equation: Equation, dtype: torch.dtype, from_zero: bool, stored: torch.dtype | None = None) -> Any:
    """Compile the kernel that adds up `update_rms.squares` of the update over each chunk, all in float64."""
    unused = [f"unused{slot}" for slot in range(equation.slots)]
    found = [
        f"origin = {'tl.zeros_like(p)' if from_zero else 'p'}",
        f"{', '.join(['q', *unused])}, = {equation.call(equation.update, 's{slot}', 'origin')}",
        "change = q - origin",
        f"small = change * {SMALL!r}",
    ]
    purpose = "rms" if from_zero else "rms_within"
    terms = ["change * change", "small * small"]
    return _summing(purpose, equation, equation.update, (dtype, stored), found, terms, "float64")


def _summing(
    purpose: str,
    equation: Equation,
    function: Callable[..., Any],
    dtypes: tuple[torch.dtype, torch.dtype | None],
    found: Sequence[str],
    terms: Sequence[str],
    math: str = "",
) -> Any:
    def element(mask: str) -> list[str]:
        within = [f"tl.where(inside, {term}, 0.0)" if mask else f"({term})" for term in terms]
        return [*found, *(f"total{number} += {term}.to(tl.float64)" for number, term in enumerate(within))]

    numbers = range(len(terms))
    return _kernel(
        purpose,
        equation,
        function,
        dtypes,
        element,
        start=[f"total{number} = tl.zeros([BLOCK], tl.float64)" for number in numbers],
        end=[f"tl.store(result + {len(terms)} * chunk + {n}, tl.sum(total{n}, axis=0))" for n in numbers],
        math=math,
    )


def _kernel(
    purpose: str,
    equation: Equation,
    function: Callable[..., Any],
    dtypes: tuple[torch.dtype, torch.dtype | None],
    element: Element,
    condition: str = "True",
    start: Sequence[str] = (),
    end: Sequence[str] = (),
    math: str = "",
) -> Any:
    """Compile the kernel that evaluates `function` in the precision `math`, by default that of the update.

    `dtypes` are those of parameters and of state, None for the precision of the update.
    """
    slots = range(equation.slots)
    per_tensor = equation.factors if function is equation.update else ()
    variables = [
        "G = located(tl.load(gradients + index), GRAD, ALIGNED) + start",
        "P = located(tl.load(row + 1), STORED, ALIGNED) + start",
        *(f"S{slot} = located(tl.load(row + {2 + slot}), STATE, ALIGNED) + start" for slot in slots),
        "before_one, before_two = factor_in_two(before, index * EACH_BEFORE, MATH)",
        "after_one, after_two = factor_in_two(after, index * EACH_AFTER, MATH)",
        *_loaded("shared", (*SETTINGS, *map(local_name, equation.shared))),
        *_loaded(f"per_tensor + {len(per_tensor)} * tensor", [local_name(name) for name in per_tensor]),
        *start,
    ]

    def block(mask: str) -> list[str]:
        return [
            f"g = widen(tl.load(G + at{mask})).to(MATH)",
            f"p = widen(tl.load(P + at{mask})).to(MATH)",
            "old = p",
            *(f"s{slot} = widen(tl.load(S{slot} + at{mask})).to(MATH)" for slot in slots),
            "g = direction * (clamped(g * before_one * before_two, bound) * after_one * after_two)",
            "g = tl.where(coupled != 0, g + coupled * p, g)",  # 0 * inf is NaN
            "p = shrink * p",
            *element(mask),
        ]

    kind = str(dtypes[0]).removeprefix("torch.")
    precise = "float64" if kind == "float64" else "float32"
    state = precise if dtypes[1] is None else str(dtypes[1]).removeprefix("torch.")
    math = math or precise
    name = f"{function.__name__}_{purpose}_{kind}" + ("_compact" if dtypes[1] else "")
    source = _KERNEL.format(
        name=name,
        arguments=", ".join([*POINTERS, *(f"{constant}: tl.constexpr" for constant in CONSTANTS)]),
        condition=condition,
        width=2 + equation.slots,
        variables=indented(8, variables),
        block=indented(12, block("")),
        rest=indented(12, block(", mask=inside")),
        end=indented(8, end),
    )
    names = {
        "rule": bind_rule(function, math),
        "STORED": tl.constexpr(intrinsics.STORED[kind]),
        "STATE": tl.constexpr(intrinsics.STORED[state]),
        "MATH": tl.constexpr(intrinsics.STORED[math]),
        "GOLDEN": tl.constexpr(0x9E3779B9),
        **{one.__name__: one for one in _FUNCTIONS},
    }
    return make_function(name, source, names, unspecialised=POINTERS)


_FUNCTIONS = (
    intrinsics.located,
    intrinsics.widen,
    intrinsics.narrow,
    intrinsics.factor_in_two,
    intrinsics.clamped,
    intrinsics.flushed,
    intrinsics.random_bits,
    intrinsics.salt_of,
    intrinsics.rounded_at_random,
)


def _loaded(pointer: str, names: Sequence[str]) -> list[str]:
    return [f"{name} = tl.load({pointer} + {number}).to(MATH)" for number, name in enumerate(names)]
