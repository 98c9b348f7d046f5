"""Decide whether a run is in trouble, and since which step, by the loss on the same batches before and after."""

import math
import statistics
from dataclasses import dataclass

from steadystep.diagnosis.case import HEALING, Case

DAMAGE = 0.25
"""The share of the start's loss by which a step, or a run, must have made the reference batches worse."""
STALLED = 0.01
"""Less progress than this share of the start's loss is none."""
CLEAR = 4.0
"""A fall of the loss by this many standard deviations of the last losses is progress, however small it is."""
LARGE = 10.0
"""An update this many times the median one is looked at by itself."""
MOST = 4
CALIBRATION = 32
"""Steps in a row that a GradScaler may skip to find its scale."""


@dataclass(frozen=True)
class Trouble:
    """What is wrong, as it shows: not yet why.

    Attributes:
        kind: "error", "loss", "gradient" or "parameter" (not finite), "frozen" (no step is applied any more), "spike",
            "rise" (there are many of them), "diverged", "stalled" or "slow" (the loss
            falls clearly, but by next to nothing), or "unseen" (a black box has recorded it, and a replay does not show
            it).
        step: the step at which it shows.
        words: what is seen.
    """

    kind: str
    step: int
    words: str

    @property
    def passes(self) -> bool:
        """Whether it is no trouble if nothing is found that decides it."""
        return self.kind in ("spike", "rise", "slow")

    @property
    def is_standstill(self) -> bool:
        """Whether the run does not learn, or hardly."""
        return self.kind in ("frozen", "stalled", "slow")

    @property
    def is_nonfinite(self) -> bool:
        """Whether something is not finite."""
        return self.kind in ("loss", "gradient", "parameter")


def trouble_of(case: Case) -> Trouble | None:
    """Return the trouble of a recorded run, or None."""
    last = case.steps[-1]
    if case.recorded.error is not None:
        return Trouble("error", last.index, f"step {last.index} raises {said(case.recorded.error)}")
    if not math.isfinite(last.loss):
        return Trouble("loss", last.index, f"the loss is {last.loss} at step {last.index}")
    if last.nonfinite_gradients and (last.nonfinite_parameters or case.run.scaler is None):
        names = _some(last.nonfinite_gradients)
        return Trouble("gradient", last.index, f"the gradient of {names} is not finite at step {last.index}")
    if last.nonfinite_parameters:
        return Trouble(
            "parameter",
            last.index,
            f"step {last.index} writes values into {_some(last.nonfinite_parameters)} that are not finite",
        )
    return _frozen(case) or _spike(case) or stalled(case)


def _frozen(case: Case) -> Trouble | None:
    still = 0
    for step in case.steps:
        still = still + 1 if step.update == 0 else 0
        if still > CALIBRATION:
            return Trouble(
                "frozen", step.index, f"no step has changed the parameters since step {step.index - still + 1}"
            )
    return None


def _spike(case: Case) -> Trouble | None:
    """Find a step after which the reference batches are much worse than they were at best."""
    times = sorted({*case.good_moments(), *_around_large_updates(case)})
    best, best_at = case.reference(case.first), case.first
    for time in times[1:]:
        now = case.reference(time)
        learned = case.reference(case.first) - best
        limit = max(DAMAGE * case.level, 0.5 * learned)
        if now - best > limit or math.isnan(now):
            step = first_damage(case, best_at, time, best, now)
            kind = "rise" if _is_restless(case, step, best, limit) else "spike"
            if math.isnan(now) or not case.reference_at_the_end(step) - best <= limit:  # NaN does not heal
                kind = "diverged"
            return Trouble(
                kind, step, f"the loss of the same batches rises from {best:.3g} to {now:.3g} after step {step}"
            )
        if now < best:
            best, best_at = now, time
    return None


def _is_restless(case: Case, damage: int, best: float, limit: float) -> bool:
    """Whether the reference batches are on average much worse than at best, also after a time in which noise heals."""
    later = [case.reference(time) for time in case.good_moments() if time > damage + HEALING]
    return len(later) >= 3 and not statistics.fmean(later) - best <= limit


def _around_large_updates(case: Case) -> list[int]:
    """Return the steps before and after the updates that are far larger than most, the largest few."""
    updates = [step.update for step in case.steps if math.isfinite(step.update)]
    usual = statistics.median(updates) if updates else 0.0
    large = sorted((step for step in case.steps if step.update > LARGE * usual > 0), key=lambda step: -step.update)
    return [time for step in large[:MOST] for time in (step.index, step.index + 1) if time <= case.last]


def first_damage(case: Case, first: int, last: int, before: float, after: float) -> int:
    """Return the step between two moments after which the loss has risen by a third, or as much as counts as damage."""
    whole = after - before if math.isfinite(after) else math.inf
    enough = min(whole / 3, DAMAGE * case.level)
    low, high = first, last
    while high - low > 1:
        middle = (low + high) // 2
        now = case.reference(middle)
        if math.isnan(now) or now - before > enough:
            high = middle
        else:
            low = middle
    return low


def stalled(case: Case) -> Trouble | None:
    """Return the trouble of a run that has learned nothing in the end, or None."""
    last = case.good_moments()[-1]
    first, end = case.reference(case.first), case.reference(last)
    if len(case.steps) < 20 or first - end >= STALLED * case.level:
        return None
    return Trouble(
        "slow" if _is_clear(case, first - end) else "stalled",
        case.first,
        f"the loss of the same batches is {first:.4g} at the start and {end:.4g} after {last} steps",
    )


def _is_clear(case: Case, fall: float) -> bool:
    """Whether a small fall of the loss, most of which may be a constant, is far above its noise."""
    noise = statistics.pstdev(step.loss for step in case.steps[-20:])
    return fall > CLEAR * noise and fall > STALLED / 10 * case.level


def said(error: Exception) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(": ")


def _some(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
