"""The errors of a step: on request, or when a run does not recover."""


class NonFiniteGradientError(FloatingPointError):
    """A step was refused under ``nonfinite="raise"``: a gradient is not finite, or its square overflows."""


class NonFiniteUpdateError(FloatingPointError):
    """Under ``nonfinite="raise"``, a step with finite gradients has written a value that is not finite."""


class TooManySkipsError(RuntimeError):
    """More than `max_consecutive_skips` steps in a row were refused: the run is not recovering."""
