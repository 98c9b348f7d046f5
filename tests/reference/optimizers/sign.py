"""The sign function, 0 at 0."""


def sign(x: float) -> float:
    """Return -1, 0 or 1."""
    return float((x > 0) - (x < 0))
