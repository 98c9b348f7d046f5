"""One batch with a finite but huge gradient."""

import math
import statistics
from typing import Any

from steadystep.diagnosis import examples
from steadystep.diagnosis.case import Case
from steadystep.diagnosis.changes import Change, clipped, with_batches
from steadystep.diagnosis.classes.batch import named, skip_bad
from steadystep.diagnosis.culprit import Finding, Fix
from steadystep.diagnosis.trouble import Trouble

FACTOR = 4.0
"""How many times the median norm an outlier's is, at least."""
CLEAR = 10.0
"""The same where the run recovers, which a noisy one does after many a step."""
GROWTH = 3
"""The last steps whose growth is that of a run that diverges."""
AFTER = 10
FEWEST = 5
"""Gradients before a step that a median is taken of, at least."""


def candidates(case: Case, trouble: Trouble) -> list[int]:
    """Return the steps around a trouble whose gradient is an outlier, the first one first."""
    found = []
    for step in case.window(max(case.first + 1, trouble.step - 10), trouble.step + 2):
        before = [s.gradient for s in case.window(step.index - 20, step.index) if math.isfinite(s.gradient)]
        if len(before) < FEWEST:
            continue
        factor = CLEAR if trouble.kind == "spike" else FACTOR
        if step.gradient > factor * max(statistics.median(before), _expected(before)):
            found.append(step.index)
    return found


def _expected(before: list[float]) -> float:
    """Return the gradient that is to be expected of a run that diverges, whose gradients grow from step to step."""
    first, last = before[-1 - GROWTH], before[-1]
    return last * (last / first) ** (1 / GROWTH) if 0 < first < last else 0.0


def investigate(case: Case, trouble: Trouble) -> Finding | None:
    """Ask whether clipping, or leaving the batch out, cures; and whether the batch harms healthy weights too."""
    for step in candidates(case, trouble)[:2]:
        before = [s.gradient for s in case.window(step - 30, step) if math.isfinite(s.gradient)]
        threshold = sorted(before)[int(0.9 * len(before))]
        if _is_cured(case, step, threshold) and _infects(case, step):
            return _finding(case, step, threshold, statistics.median(before))
    return None


def _is_cured(case: Case, step: int, threshold: float) -> bool:
    """Whether the step does no harm with clipping, and without its batch."""
    harm = _rise(case, step)
    swaps = {
        f"gradients clipped to {threshold:.3g}": clipped(threshold),
        f"batch {step} left out": skip_bad(case, step),
    }
    cured = []
    for label, change in swaps.items():
        rise = _rise(case, step, change)
        cured.append(not math.isnan(rise) and (math.isnan(harm) or rise < harm / 3))
        case.note(label, f"the loss of the same batches {_moves(rise)}; else it {_moves(harm)}", cured[-1])
    return all(cured)


def _infects(case: Case, step: int) -> bool:
    """Whether the batch harms the weights of a healthy step too."""
    healthy = max(case.first + 1, (case.first + step) // 2)

    def planted(index: int, batch: Any) -> Any:
        return case.run.batch(step) if index == healthy else batch

    alone, infected = _rise(case, healthy), _rise(case, healthy, with_batches(planted, "the batch planted"))
    least = 0.1 * min(abs(case.reference(step)), case.level)
    infects = not math.isnan(alone) and (math.isnan(infected) or infected > alone + least)
    outcome = f"the loss of the same batches {_moves(infected)}; else it {_moves(alone)}"
    case.note(f"batch {step} given to step {healthy}", outcome, not infects)
    return infects


def _finding(case: Case, step: int, threshold: float, usual: float) -> Finding:
    norm = case.step(step).gradient
    bad = _examples(case, step, norm)
    place = f"{named(bad)} of batch {step}" if bad else f"batch {step}"
    return Finding(
        "outlier-gradient",
        place,
        step,
        f"the gradient of {place} has norm {norm:.3g}, {norm / usual:.3g} times the usual {usual:.3g}, and its one "
        "update throws the run off",
        (
            Fix(f"clip gradients to norm {threshold:.2g}", (clipped(threshold),), case.before(step)),
            Fix(f"leave batch {step} out", (skip_bad(case, step),), case.before(step)),
        ),
    )


def _moves(rise: float) -> str:
    """Return in words how a loss changes.

    >>> _moves(0.5), _moves(-0.25), _moves(math.nan)
    ('rises by 0.5', 'falls by 0.25', 'is not finite')
    """
    return "is not finite" if math.isnan(rise) else f"{'rises' if rise > 0 else 'falls'} by {abs(rise):.3g}"


def _rise(case: Case, step: int, *changes: Change) -> float:
    """Return by how much some steps make the reference batches worse."""
    before = case.reference(step)
    return case.replay(step, AFTER, *changes).end - before


def _examples(case: Case, step: int, norm: float) -> list[int]:
    """Return the examples that make the gradient large, for losses that are means over a batch."""
    moment, batch = case.at(step), case.run.batch(step)
    size = examples.count(batch)

    def is_bad(part: Any) -> bool:
        share = size / max(examples.count(part), 1)
        return case.probe(moment, part).norm > norm * share / 2

    return examples.culprits(batch, is_bad)
