"""Whether standard output can show any character."""

import sys


def prints_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")
