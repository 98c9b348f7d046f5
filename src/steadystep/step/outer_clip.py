"""Notice gradients that were clipped before the step got them: one of the two settings has no effect, or does harm.

An outer `clip_grad_norm_` leaves a trace: norms reach its bound, again and again, and never exceed it, while the
gradients differ. The same holds for the largest element under `clip_grad_value_`. And if the norm overflows float32, it
multiplies sound gradients by 0.
"""

from collections.abc import Sequence

from steadystep.step.fields import AT
from steadystep.tracing.ops import Number, where

NEAR_NORM = 1e-4
"""How far apart, relatively, norms at the same bound can be: the outer clip divides by the norm plus 1e-6."""

NEAR_VALUE = 1e-6
"""The same for the largest element, which the outer clip sets to its bound."""

DIFFERENT = 0.01
"""By how much two gradients differ that are not the same batch at almost the same parameters."""

OFTEN = 3
"""How often a bound has to be reached again before it counts as one."""

ADVICE = (
    "Leave clipping to this optimizer (clip=) and turn the other one off: no clip_grad_norm_ in the loop, "
    "gradient_clip_val=None for a Lightning Trainer, max_grad_norm=0 in transformers' TrainingArguments"
)


def observe(entries: list[Number], counts: Number, norm: Number, abs_max: Number) -> None:
    """Count a step whose gradients look clipped, or are all 0 after others that were not.

    Args:
        entries: the ledger of the steps so far; its last norm is that of the step before.
        counts: whether the step is applied and its norm is finite.
        norm: the global norm.
        abs_max: the largest element.
    """
    last_norm, last_abs_max = entries[AT["norm_before"]], entries[AT["last_abs_max"]]
    largest_norm, largest_abs_max = entries[AT["largest_norm"]], entries[AT["largest_abs_max"]]
    zero = (abs_max == 0.0) & (largest_norm > 0.0)
    # A clipped norm is rounded differently each time; one that is the same to the last bit is of the same gradient.
    near = (abs(norm - largest_norm) <= NEAR_NORM * largest_norm) & (norm != largest_norm)
    at_norm = near & (abs(abs_max - last_abs_max) > DIFFERENT * abs_max)
    same_value = (abs(abs_max - largest_abs_max) <= NEAR_VALUE * largest_abs_max) & (norm > abs_max)
    at_value = same_value & (abs(norm - last_norm) > DIFFERENT * norm)
    clipped = _count(entries, "norm_repeats", counts, at_norm, norm > (1 + NEAR_NORM) * largest_norm)
    clipped |= _count(entries, "abs_max_repeats", counts, at_value, abs_max > (1 + NEAR_VALUE) * largest_abs_max)
    for name, value in (("zero_gradients", zero), ("already_clipped", clipped)):
        entries[AT[name]] = entries[AT[name]] + (counts & value)
    entries[AT["last_abs_max"]] = where(counts, abs_max, last_abs_max)
    entries[AT["largest_norm"]] = where(counts & (norm > largest_norm), norm, largest_norm)
    entries[AT["largest_abs_max"]] = where(counts & (abs_max > largest_abs_max), abs_max, largest_abs_max)


def _count(entries: list[Number], name: str, counts: Number, again: Number, exceeded: Number) -> Number:
    """Count how often a bound is reached again, from 0 once it is exceeded; return whether that is often."""
    known = entries[AT[name]]
    entries[AT[name]] = where(counts, where(exceeded, 0.0, where(again, known + 1.0, known)), known)
    return again & (known + 1.0 >= OFTEN)


def warnings_for(entries: Sequence[float]) -> dict[str, str]:
    """Return what to say about gradients that were clipped before, by kind."""
    found = {}
    if entries[AT["zero_gradients"]]:
        found["zero"] = (
            "all gradients are exactly 0, after others that were not. If the training loop clips too, the norm may "
            f"have overflowed float32, and clipping then multiplies by 0. {ADVICE}"
        )
    if entries[AT["already_clipped"]]:
        by_norm = entries[AT["norm_repeats"]] >= OFTEN
        bound = entries[AT["largest_norm" if by_norm else "largest_abs_max"]]
        what = "norm" if by_norm else "largest element"
        found["clipped"] = (
            f"the gradients seem to be clipped before they reach the step: their {what} is {bound:.4g} again and "
            f"again, and never more. {ADVICE}"
        )
    return found
