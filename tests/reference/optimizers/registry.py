"""The table of the scalar references: every reference adds itself under its optimizer's class name."""

from collections.abc import Callable, Sequence
from typing import Any

from reference.optimizers.trajectory import Trajectory

Reference = Callable[..., Trajectory]
Options = dict[str, Any]

REFERENCES: dict[str, Reference] = {}
"""Every reference, by the class name of its optimizer."""

VARIANTS: dict[str, tuple[str, ...]] = {}
"""The variants of every optimizer; the default comes first."""

CASES: list[tuple[str, str, Options]] = []
"""Every variant with each of its hyperparameter sets: (class name, variant, keyword arguments)."""


def reference(
    name: str, variants: Sequence[str], options: Sequence[Options], **extra: Sequence[Options]
) -> Callable[[Reference], Reference]:
    """Add the decorated reference to the table.

    Args:
        name: the class name of the optimizer.
        variants: the values that `variant` accepts, the default first.
        options: the hyperparameter sets to test with every variant.
        extra: for a variant, further hyperparameter sets to test with that variant alone.
    """

    def add(function: Reference) -> Reference:
        REFERENCES[name] = function
        VARIANTS[name] = tuple(variants)
        CASES.extend((name, variant, dict(chosen)) for variant in variants for chosen in options)
        CASES.extend((name, variant, dict(chosen)) for variant, sets in extra.items() for chosen in sets)
        return function

    return add


def choose(name: str, variant: str | None) -> str:
    """Return `variant`, or the default variant of the optimizer if it is None."""
    accepted = VARIANTS[name]
    if variant is None:
        return accepted[0]
    if variant not in accepted:
        raise ValueError(f"variant={variant!r}: accepted are {', '.join(accepted)}")
    return variant
