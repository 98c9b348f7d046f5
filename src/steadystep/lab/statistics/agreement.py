"""By how much the results of a trial may differ when it is run again on another machine."""

import math
from collections.abc import Sequence
from statistics import median, stdev

from scipy.special import ndtr, ndtri, stdtr, stdtrit

REACH = 3.0
"""How many standard deviations a difference may have. Chance exceeds it in 0.3% of the trials."""

NORMAL_MAD = 1.4826
"""The standard deviation of normal values, divided by the median of their sizes."""

MAD_EFFICIENCY = 0.37
"""The median size of n normal values tells their spread about as precisely as the standard deviation of 0.37 n."""


def allowed_differences(
    differences: Sequence[float], others: Sequence[Sequence[float]], margin: float
) -> tuple[float, ...]:
    """Return by how much each trial may differ from its record.

    Rounding differs between machines and grows while a network trains, so that at worst a trial ends like another seed
    of its arm: d / (√2 s) then has Student's t distribution, with s the standard deviation of the other seeds. A
    difference may be as improbable as one of three standard deviations of a normal value, or less: if the other trials
    of the sample differ by less than other seeds do, these machines do. So no record decides what it may differ by, and
    on machines that compute the same, a single record that differs is seen. In any case a trial may differ by the
    margin below which the study calls arms equivalent.

    Args:
        differences: accuracy of the second run minus that of the record; NaN if one of them has none.
        others: for each trial, the recorded accuracies of the other seeds of its arm and budget.
        margin: of equivalence.

    >>> seeds = [0.90, 0.91, 0.92, 0.91]
    >>> other_machine = allowed_differences([0.01, -0.02, 0.02], [seeds] * 3, margin=0.005)
    >>> [round(allowed, 3) for allowed in other_machine]
    [0.106, 0.106, 0.106]
    >>> allowed_differences([0.0, 0.0, 0.02], [seeds] * 3, margin=0.005)[-1]
    0.005
    """
    scores = [_score(difference, seeds) for difference, seeds in zip(differences, others, strict=True)]
    allowed = []
    for place, seeds in enumerate(others):
        rest = [score for index, score in enumerate(scores) if index != place and not math.isnan(score)]
        allowed.append(max(margin, _difference(_reach(rest), seeds)))
    return tuple(allowed)


def _reach(scores: Sequence[float]) -> float:
    """Return how many standard deviations of another seed a difference may have, given those of the other trials."""
    if len(scores) < 2:
        return REACH
    freedom = max(1.0, MAD_EFFICIENCY * len(scores))
    return min(REACH, -float(stdtrit(freedom, ndtr(-REACH))) * NORMAL_MAD * median(scores))


def _score(difference: float, seeds: Sequence[float]) -> float:
    """Return the size of a difference as that of the normal value that is as improbable; NaN if there is none."""
    if math.isnan(difference) or difference == 0:
        return abs(difference)
    spread = _spread(seeds)
    return -float(ndtri(stdtr(len(seeds) - 1, -abs(difference) / spread))) if spread else math.inf


def _difference(score: float, seeds: Sequence[float]) -> float:
    """Return the difference with this score, the inverse of `_score`; 0 if the other seeds have no spread."""
    spread = _spread(seeds)
    return -float(stdtrit(len(seeds) - 1, ndtr(-score))) * spread if spread else 0.0


def _spread(seeds: Sequence[float]) -> float:
    """Return the standard deviation of the difference of two seeds; 0 if there are too few to tell."""
    return math.sqrt(2) * stdev(seeds) if len(seeds) > 1 else 0.0
