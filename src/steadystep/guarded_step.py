"""Measure, decide, apply: the one place where a step happens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, get_args

import numpy as np
import torch

from steadystep import ledger as ledgers
from steadystep.clipping.clipper import Clipper, decide
from steadystep.clipping.measured import Measured
from steadystep.clipping.stages import Stage
from steadystep.kernels import eager
from steadystep.maths import Number, isfinite

Nonfinite = Literal["skip", "raise", "propagate"]


class NonFiniteGradientError(FloatingPointError):
    """A gradient cannot be stepped with, and ``nonfinite="raise"`` asks to be told. Nothing was changed."""


class TooManySkipsError(RuntimeError):
    """More steps in a row were refused than `max_consecutive_skips` allows: the run does not recover."""


@dataclass(frozen=True)
class Policy:
    """What to do about a step that would write something non-finite."""

    nonfinite: Nonfinite = "skip"
    max_consecutive_skips: int = 25

    def __post_init__(self) -> None:
        if self.nonfinite not in get_args(Nonfinite):
            raise ValueError(f"nonfinite is {self.nonfinite!r}: it must be one of {', '.join(get_args(Nonfinite))}")
        limit = self.max_consecutive_skips
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise ValueError(f"max_consecutive_skips is {limit!r}: it must be a whole number from 1 up")


def guarded_step(
    gradients: Sequence[torch.Tensor],
    groups: Sequence[slice],
    name: Callable[[int], str],
    clippers: Sequence[Clipper],
    policy: Policy,
    ledger: torch.Tensor,
    apply: Callable[[Sequence[Stage], Number], None],
) -> Measured | None:
    """One step: measure the gradients, let the clippers and the guard decide, apply or refuse, enter it in the ledger.

    `groups` are the parameter groups as slices of `gradients`; `name(i)` names the i-th for an error.
    `apply(stages, accept)` writes the update; it is not called for a step that the host knows to be refused.
    Returns what was measured, or None where nothing had to be (no clipper, ``nonfinite="propagate"``).
    """
    if policy.nonfinite == "propagate" and not clippers:
        apply((), True)
        ledgers.record(ledger, None, True, False, False)
        return None
    before = eager.measure(gradients, groups)
    decision = decide(clippers, before, partial(eager.measure, gradients, groups))
    # Judged on the raw gradient: a clamp would hide an infinity. NaN fails both comparisons.
    finite = isfinite(before.peaks).all()
    fits = (decision.after.peaks <= _largest_squares(tuple(g.dtype for g in gradients), ledger.device)).all()
    if policy.nonfinite == "raise" and not (finite & fits):
        raise NonFiniteGradientError(_complaint(before, decision.after, gradients, name))
    accept = finite & fits if policy.nonfinite != "propagate" else finite | ~finite
    if isinstance(accept, torch.Tensor) or accept:
        apply(decision.stages, accept)
    ledgers.record(ledger, decision, accept, ~finite & ~accept, finite & ~fits & ~accept)
    return before


@lru_cache(maxsize=64)
def _largest_squares(dtypes: tuple[torch.dtype, ...], device: torch.device) -> Number:
    """For each gradient the largest value whose square the moments' type can hold."""
    limits = [_largest_square(dtype) for dtype in dtypes]
    return np.array(limits) if device.type == "cpu" else torch.tensor(limits, dtype=torch.float64, device=device)


def _largest_square(dtype: torch.dtype) -> float:
    moments = torch.float64 if dtype == torch.float64 else torch.float32
    return torch.finfo(moments).max ** 0.5


def _complaint(before: Measured, after: Measured, gradients: Sequence[torch.Tensor], name: Callable[[int], str]) -> str:
    limits = [_largest_square(gradient.dtype) for gradient in gradients]
    nonfinite, too_large = [], []
    for index, (raw, clipped) in enumerate(zip(before.peaks.tolist(), after.peaks.tolist(), strict=True)):
        if not isfinite(raw):
            nonfinite.append(name(index))
        elif not clipped <= limits[index]:
            too_large.append(f"{name(index)} (largest element {clipped:.3g})")
    if nonfinite:
        return f"non-finite gradient in {_some(nonfinite)}; parameters and state are unchanged"
    return f"the square of the gradient overflows in {_some(too_large)}; parameters and state are unchanged"


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class SkipWatch:
    """Raises once too many steps in a row were refused. On an accelerator it never waits, so it may be late."""

    def __init__(self) -> None:
        self._pending: tuple[torch.Tensor, torch.cuda.Event] | None = None

    def check(self, ledger: torch.Tensor, limit: int) -> None:
        count = ledgers.consecutive_skips(ledger)
        if ledger.device.type == "cuda":
            count = self._arrived(count)
        if count is not None and count.item() > limit:
            raise TooManySkipsError(
                f"{int(count.item())} steps in a row were refused (max_consecutive_skips={limit}): the gradients stay "
                "non-finite or too large. optimizer.ledger says why; nonfinite='raise' names the tensors"
            )

    def _arrived(self, count: torch.Tensor) -> torch.Tensor | None:
        """The latest count that has reached the host; starts the journey of the present one."""
        arrived = None
        if self._pending is not None:
            if not self._pending[1].query():
                return None
            arrived = self._pending[0]
        landing = torch.empty((), dtype=count.dtype, pin_memory=True)
        landing.copy_(count, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending = (landing, event)
        return arrived
