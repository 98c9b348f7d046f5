"""The errors of a step: on request, or when a run does not recover."""

from collections.abc import Mapping, Sequence
from typing import Any


class StepError(Exception):
    """What the errors of a step have in common: what happened, as data.

    Args:
        problem: what is wrong, in a sentence.
        looks_like: which kind of trouble it looks like, and where to go on.
        step: the number of the step, from 1 on: what the ledger counts as ``attempted``.
        tensors: the names of the tensors at fault.
        reason: ``"nonfinite"``, ``"overflow"``, ``"outlier"``, ``"loss"`` or ``"update"``; see `Optimizer.ledger`.
        norms: the norm of each gradient before clipping, by name.
    """

    def __init__(
        self,
        problem: str,
        looks_like: str = "",
        step: int = 0,
        tensors: Sequence[str] = (),
        reason: str = "",
        norms: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(problem, looks_like, step, tuple(tensors), reason, dict(norms or {}))
        self.problem, self.looks_like = problem, looks_like
        self.step, self.tensors, self.reason, self.norms = step, tuple(tensors), reason, dict(norms or {})

    def __str__(self) -> str:
        return f"{self.problem}. {self.looks_like}" if self.looks_like else self.problem

    def __reduce__(self) -> tuple[Any, ...]:
        # The norms may have been added later.
        return type(self), (self.problem, self.looks_like, self.step, self.tensors, self.reason, self.norms)


class NonFiniteGradientError(StepError, FloatingPointError):
    """A step was refused under ``nonfinite="raise"``: a gradient is not finite, or its square overflows."""


class NonFiniteLossError(StepError, FloatingPointError):
    """A step was refused under ``nonfinite="raise"``: the loss that it was told is not finite."""


class NonFiniteUpdateError(StepError, FloatingPointError):
    """Under ``nonfinite="raise"``, a step with finite gradients has written a value that is not finite."""


class TooManySkipsError(StepError, RuntimeError):
    """More than `max_consecutive_skips` steps in a row were refused: the run is not recovering."""
