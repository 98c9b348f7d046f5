"""Detect whether standard output supports Unicode."""

import sys


def prints_unicode() -> bool:
    """Return whether standard output has a Unicode encoding."""
    return (sys.stdout.encoding or "").lower().startswith("utf")
