"""Which kind of trouble a refused step looks like, from what the ledger counted before it."""

from collections.abc import Sequence

from steadystep.step.fields import AT

GREW = 10.0
"""The factor over their average from which on norms count as grown."""

OVER = 3
"""The number of steps in a row over which norms must have grown."""

GUIDE = "The how-to guide 'A run that diverges' says how to go on"

BECAUSE = {
    "nonfinite": "a gradient is not finite",
    "overflow": "the square of a gradient overflows",
    "outlier": "its norm is an outlier",
    "loss": "the loss is not finite",
    "update": "it had written values that are not finite, and was taken back",
}
"""Why a step was refused, in words."""


def looks_like(entries: Sequence[float], reason: str) -> str:
    """Return which kind of trouble it looks like, and where to go on.

    Args:
        entries: the ledger's vector, in which the refused step is recorded.
        reason: why it was refused.
    """
    return f"{_kind(entries, reason)}. {GUIDE}"


def _kind(entries: Sequence[float], reason: str) -> str:
    applied, in_a_row = int(entries[AT["applied"]]), int(entries[AT["consecutive_skips"]])
    norm, rising_from, rising_for = (entries[AT[name]] for name in ("last_sound_norm", "rising_from", "rising_for"))
    if reason == "outlier":
        return f"Norms stay far above those of the steps before, the last of which was {norm:.3g}"
    if applied == 0:
        return "No step has been applied so far: this looks like the initialisation, or like the data"
    if reason == "update":
        return "The gradients are finite: this looks like a learning rate that is too large, or like an eps of 0"
    if rising_for >= OVER and norm >= GREW * rising_from:
        return (
            f"Norms grew from {rising_from:.3g} to {norm:.3g} over {int(rising_for)} steps: this looks like a learning "
            "rate that is too large"
        )
    if in_a_row > 1:
        return (
            f"The {in_a_row} last steps were refused, after one with an ordinary norm of {norm:.3g}: the parameters "
            "have not changed since, so this looks like the data"
        )
    return f"The norm of the step before was ordinary, {norm:.3g}: this looks like this batch alone"


def nonfinite_update_message(optimizer: str, names: Sequence[str]) -> str:
    """Return what is said of a step with finite gradients that wrote something that is not finite."""
    return (
        f"{optimizer} has written values that are not finite to {first_of(names)}, from gradients that are finite: "
        "lower the learning rate, or raise eps; a parameter in float16 can hold no more than 65504"
    )


def first_of(names: Sequence[str], most: int = 8) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
