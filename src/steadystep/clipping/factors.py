"""The factor that brings a norm down to a limit."""

from steadystep.maths import Number, isfinite, where


def to_limit(norms: Number, limits: Number) -> tuple[Number, Number]:
    """min(1, limit / norm), and whether it is below 1. A non-finite norm gets 1, so does 0."""
    exceeds = isfinite(norms) & (norms > limits)
    return where(exceeds, limits / where(exceeds, norms, 1.0), 1.0), exceeds
