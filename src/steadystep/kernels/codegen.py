"""Helpers with which the compiled backends generate a kernel's source from a rule."""

import dis
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from steadystep.rule import Rule, keywords, positional
from steadystep.tracing.ops import Number


@dataclass(frozen=True)
class Equation:
    """The parts of a rule that a kernel is compiled from. Rules that differ only in their scalars share kernels."""

    update: Callable[..., Any]
    sums: Callable[..., Any] | None
    slots: int

    @property
    def shared(self) -> tuple[str, ...]:
        """The coefficients of `update` that all tensors share."""
        return keywords(self.update if self.sums is None else self.sums)

    @property
    def factors(self) -> tuple[str, ...]:
        """The coefficients of `update` that differ between tensors."""
        return keywords(self.update)[len(self.shared) :]

    @cached_property
    def terms(self) -> int:
        """The number of sums over a tensor that the rule needs."""
        assert self.sums is not None, "only a rule with sums has terms"
        return len(self.sums(1.0, 1.0, *[1.0] * self.slots, **dict.fromkeys(self.shared, 1.0)))

    def call(self, function: Callable[..., Any], slot: str = "s{slot}", p: str = "p") -> str:
        """Return the source of a call to `function`; `slot` and `p` are the kernel's names for state and parameter."""
        state = [slot.format(slot=number) for number in range(self.slots)]
        return f"rule({', '.join(['g', p, *state, *map(local_name, keywords(function))])})"


def arguments_read(function: Callable[..., Any]) -> frozenset[int]:
    """Return the positions of those positional arguments that a function reads.

    >>> def first_and_last(g, p, m, *, lr):
    ...     return (lr * g * m,)
    >>> sorted(arguments_read(first_and_last))
    [0, 2]
    """
    loads = (one.argval for one in dis.get_instructions(function) if one.opname.startswith("LOAD_FAST"))
    # Newer versions of Python load two variables in one instruction.
    names = {name for loaded in loads for name in (loaded if isinstance(loaded, tuple) else (loaded,))}
    return frozenset(place for place, name in enumerate(positional(function)) if name in names)


def local_name(coefficient: str) -> str:
    """Return a name for a rule's coefficient that does not clash with the variables of a kernel."""
    return f"{coefficient}_"


def indented(indent: int, text: Sequence[str]) -> str:
    """Join lines, indenting all but the first by `indent`, for insertion into a template that indents the first."""
    return ("\n" + " " * indent).join(text) or "pass"


def direction_and_decay(rule: Rule, values: Mapping[str, Any]) -> tuple[Number, Number, Number]:
    """Return the sign and the weight decay that a step applies around the rule.

    Returns:
        The direction (-1 under `maximize`), the coefficient of coupled weight decay, and the factor that decoupled
        weight decay multiplies parameters by.
    """
    direction = -1.0 if values["maximize"] else 1.0
    decay = values["weight_decay"]
    match rule.decay:
        case "coupled":
            return direction, decay, 1.0
        case "decoupled":
            return direction, 0.0, 1.0 - values["lr"] * decay
        case "independent":
            return direction, 0.0, 1.0 - values["lr"] / values["base_lr"] * decay
        case "within":
            return direction, 0.0, 1.0
