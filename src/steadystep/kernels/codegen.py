"""What of a rule a compiled kernel is made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steadystep.rule import Rule, keywords
from steadystep.tracing.ops import Number


@dataclass(frozen=True)
class Equation:
    """What of a rule a kernel is made of; rules that differ in their scalars alone share their kernels."""

    update: Callable[..., Any]
    sums: Callable[..., Any] | None
    slots: int

    @property
    def shared(self) -> tuple[str, ...]:
        """The coefficients of `update` that all tensors share."""
        return keywords(self.update if self.sums is None else self.sums)

    @property
    def factors(self) -> tuple[str, ...]:
        """The coefficients of `update` that each tensor has for itself."""
        return keywords(self.update)[len(self.shared) :]

    @property
    def terms(self) -> int:
        """How many sums the rule takes over a tensor: as many as one element gives."""
        assert self.sums is not None, "only a rule with sums has terms"
        return len(self.sums(1.0, 1.0, *[1.0] * self.slots, **dict.fromkeys(self.shared, 1.0)))

    def call(self, function: Callable[..., Any], slot: str = "S{slot}[i]", p: str = "p") -> str:
        """The source of a call of one of the functions: `slot` and `p` are how the kernel names state and parameter."""
        state = [slot.format(slot=number) for number in range(self.slots)]
        return f"rule({', '.join(['g', p, *state, *map(local_name, keywords(function))])})"


def local_name(coefficient: str) -> str:
    """A name for a rule's coefficient that no variable of a kernel has."""
    return f"{coefficient}_"


def settings(rule: Rule, values: Mapping[str, Any]) -> tuple[Number, Number, Number]:
    """What a step does besides the rule: the direction (-1 to climb), coupled decay, and decoupled decay's factor."""
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


def lines(indent: int, text: Sequence[str]) -> str:
    """Lines for a place in a template that is indented by so much, the first one by the template itself."""
    return ("\n" + " " * indent).join(text) or "pass"
