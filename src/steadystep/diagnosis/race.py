"""Try fixes in replay, and tell which of them holds."""

import math
from dataclasses import dataclass

from steadystep.diagnosis.case import HORIZON, Case
from steadystep.diagnosis.changes import clipped, learning_rate
from steadystep.diagnosis.culprit import Fix
from steadystep.diagnosis.play import Played
from steadystep.diagnosis.trouble import CALIBRATION, DAMAGE, STALLED

FAR = 0.25
"""The share of the start's loss by which a run must fall to have learned far more than another one."""


@dataclass(frozen=True)
class Tried:
    """What came of a fix."""

    fix: Fix
    first: int
    horizon: int
    progress: bool
    held: int
    holds: bool
    before: float
    after: float
    words: str


def try_fix(case: Case, fix: Fix, horizon: int = HORIZON, *, progress: bool = False) -> Tried:
    """Replay a run with a fix, and say how long it holds; once for each fix.

    It holds if loss and parameters stay finite, the steps go on changing the parameters, and the reference batches are
    in the end not worse than at the start of the replay; with `progress`, they must be better.
    """
    known = case.tried.get(id(fix))
    if known is None or known.horizon < horizon or known.progress != progress:
        known = case.tried[id(fix)] = _try(case, fix, horizon, progress)
    return known


def _try(case: Case, fix: Fix, horizon: int, progress: bool) -> Tried:
    first = case.first if fix.first is None else fix.first
    before = case.loss_before(first, *fix.changes)
    played = case.replay(first, horizon, *fix.changes)
    held, holds, words = _judged(played, before, case.level, progress)
    return Tried(fix, first, horizon, progress, held, holds and held >= horizon, before, played.end, words)


def _judged(played: Played, before: float, level: float, progress: bool) -> tuple[int, bool, str]:
    """Return how many steps a replay holds, whether it is sound, and what is said of it."""
    held, after, bad = len(played.steps), played.end, played.broken
    if played.error is not None:
        return held - 1, False, f"fails at step {played.steps[-1].index}: {type(played.error).__name__}"
    if bad is not None:
        return bad.index - played.steps[0].index, False, f"not finite at step {bad.index}"
    if (still := _longest_rest(played)) > CALIBRATION:
        return 0, False, f"{still} steps in a row change nothing"
    if not math.isfinite(after) or after - before > DAMAGE / 2 * level or _hurt(played, level):
        return 0, False, f"the loss rises: {before:.4g} -> {after:.4g}"
    if progress and before - after < STALLED * level:
        return held, False, f"no progress: {before:.4g} -> {after:.4g}"
    return held, True, f"holds {held} steps, loss {before:.4g} -> {after:.4g}"


def learns_far_more(case: Case, tried: Tried, given: Tried) -> bool:
    """Whether a run with a fix holds and learns several times as much as it does without, and not just a little."""
    falls = tried.before - tried.after
    return tried.holds and falls > FAR * case.level and not given.before - given.after > falls / 3


def _longest_rest(played: Played) -> int:
    longest = still = 0
    for step in played.steps:
        still = still + 1 if step.update == 0 and not step.skipped else 0
        longest = max(longest, still)
    return longest


def _hurt(played: Played, level: float) -> bool:
    """Whether the last losses are far above the first ones."""
    losses = played.losses
    if len(losses) < 20:
        return False
    first, last = sorted(losses[:10])[5], sorted(losses[-10:])[5]
    return last - first > DAMAGE * level and last > max(losses[:10])


def usual(case: Case, first: int) -> list[Fix]:
    """Return what people try first."""
    return [
        Fix("divide the learning rate by 10", (learning_rate(0.1),), first),
        Fix("clip gradients to norm 1", (clipped(1.0),), first),
    ]
