"""A learning rate that is too large for any batch, or so small that nothing moves."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from steadystep.diagnosis.case import Case
from steadystep.diagnosis.changes import Change, learning_rate, with_batches
from steadystep.diagnosis.culprit import Finding, Fix
from steadystep.diagnosis.race import Tried, learns_far_more, try_fix
from steadystep.diagnosis.run import Run
from steadystep.diagnosis.trouble import Trouble

FACTORS = (0.5, 0.25, 0.1, 0.03, 0.01, 0.001)
FURTHER = tuple(10.0**-power for power in range(4, 25))
"""For a rate that is wrong by orders of magnitude. So small a rate hurts nothing, so that it must make progress too."""
SMALLEST = 1e-9
"""Learning rates below it are not tried."""
SHORT = 100


def investigate(case: Case, trouble: Trouble, first: int) -> Finding | None:
    """Ask whether a smaller rate alone is sound, and the given one is not with other batches either.

    Args:
        case: the run.
        trouble: what shows.
        first: the step before which the loss was still sound.
    """
    rate = rate_at(case, trouble.step)
    if rate < 0:
        return _negative(case, rate, first)
    factors = (*FACTORS, *(factor for factor in FURTHER if rate * factor >= SMALLEST))

    @cache
    def attempt(factor: float) -> Tried:
        return _try(case, first, factor, progress=factor < FACTORS[-2])

    tenth = attempt(0.1)
    case.note("learning rate / 10", tenth.words, tenth.holds)
    if not (tenth.holds or any(attempt(factor).holds for factor in factors if factor <= FACTORS[-2])):
        return None
    given = try_fix(case, Fix("", (with_batches(_others(case), "other batches"),), first), SHORT)
    case.note("other batches at the same learning rate", given.words, given.holds)
    restless = learns_far_more(case, tenth, given)  # it does not diverge, but learns nothing either
    if given.holds and not _rose(given, case) and not restless:
        return None
    best, worst = None, 1.0
    for factor in factors:
        tried = attempt(factor)
        if learns_far_more(case, tried, given) if restless else tried.holds:
            best = factor
            break
        worst = factor
    if best is None:
        return None
    case.note(f"learning rate x {best:g}", "holds", True)
    jump = rate / rate_at(case, first) if rate_at(case, first) else 1.0
    sentence = (
        f"the learning rate {rate:.3g} is about {1 / best:.2g} times too large: it holds with {rate * best:.3g} and "
        f"fails with {rate * worst:.3g}, whatever the batches"
    )
    if jump > 3:
        sentence = (
            f"the learning rate jumps from {rate_at(case, first):.3g} to {rate:.3g}, by {jump:.3g} times, before step "
            f"{trouble.step}; {sentence}"
        )
    fixes = [
        Fix(f"set lr={rate * factor:.2g}", (learning_rate(factor),), first) for factor in factors if factor <= best
    ]
    return Finding("learning-rate", "lr", trouble.step, sentence, tuple(fixes[:3]))


def too_large_to_learn(case: Case) -> Finding | None:
    """Ask whether a run without progress makes some with a smaller learning rate."""
    given = try_fix(case, Fix("", ()))
    for factor in (0.1, 0.01):
        tried = _try(case, case.first, factor)
        far_more = learns_far_more(case, tried, given)
        case.note(f"learning rate x {factor:g}", tried.words, far_more)
        if far_more:
            rate = max(rate_at(case, step) for step in case.good_moments()[:-1])
            return Finding(
                "learning-rate",
                "lr",
                case.first,
                f"the learning rate, which goes up to {rate:.3g}, is too large: nothing is learned, and with a "
                f"{1 / factor:.3g}th of it the loss falls",
                (Fix(f"divide the learning rate by {1 / factor:.3g}", (learning_rate(factor),)),),
            )
    return None


def too_small(case: Case) -> Finding | None:
    """Ask whether a run without progress makes some with a larger learning rate."""
    for factor in (10.0, 100.0, 1000.0):
        tried = try_fix(case, Fix("", (learning_rate(factor),)), SHORT, progress=True)
        case.note(f"learning rate x {factor:g}", tried.words, tried.holds)
        if tried.holds and tried.before - tried.after > 0.1 * case.level:
            rate = rate_at(case, case.first)
            return Finding(
                "learning-rate",
                "lr",
                case.first,
                f"the learning rate {rate:.3g} is too small: nothing is learned, and with {rate * factor:.3g} the loss "
                "falls",
                (Fix(f"set lr={rate * factor:.2g}", (learning_rate(factor),)),),
            )
    return None


def _negative(case: Case, rate: float, first: int) -> Finding | None:
    """Ask whether the run is sound with the rate's opposite."""
    for factor in (-1.0, -0.1, -0.01):
        tried = _try(case, first, factor)
        case.note(f"learning rate {rate * factor:.3g}", tried.words, tried.holds)
        if tried.holds:
            fix = Fix(f"set lr={rate * factor:.2g}", (learning_rate(factor),), first)
            words = f"the learning rate is negative, {rate:.3g}: each step goes uphill"
            return Finding("learning-rate", "lr", first, f"{words}, and it holds with {rate * factor:.3g}", (fix,))
    return None


def _try(case: Case, first: int, factor: float, progress: bool = False) -> Tried:
    return try_fix(case, Fix("", (learning_rate(factor),), first), SHORT, progress=progress)


def _rose(tried: Tried, case: Case) -> bool:
    return tried.after - tried.before > 0.1 * case.level


def _others(case: Case) -> Callable[[int, Any], Any]:
    shift = 7 if case.run.period is None else max(1, min(7, case.run.period // 2))
    return lambda index, batch: case.run.batch(index + shift)


def rate_at(case: Case, step: int) -> float:
    """Return the learning rate of the first group that a step is taken with."""
    found: list[float] = []

    def look(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
        found.append(float(optimizer.param_groups[0]["lr"]))

    case.replay(min(step, max(case.moments)), 1, Change("", gradients=look))
    return found[0] if found else float(case.run.optimizer.param_groups[0]["lr"])
