"""Source text for kernels: lines filled into a template."""

from collections.abc import Sequence


def lines(indent: int, text: Sequence[str]) -> str:
    """Lines for a place in a template that is indented by so much, the first one by the template itself."""
    return ("\n" + " " * indent).join(text) or "pass"
