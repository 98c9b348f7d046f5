"""By how much the results of a trial may differ when it is run again on another machine."""

import math
from collections.abc import Sequence
from statistics import stdev

from scipy.special import ndtr, stdtrit

REACH = 3.0
"""How many standard deviations a difference may have. Chance exceeds it in 0.3% of the trials."""


def allowed_differences(
    identical: Sequence[bool], others: Sequence[Sequence[float]], margin: float
) -> tuple[float, ...]:
    """Return by how much the accuracy of each trial may differ from that of its record.

    Rounding differs between machines and grows while a network trains, so that at worst a trial ends like another seed
    of its arm: d / (√2 s) then has Student's t distribution, with s the standard deviation of the other seeds. A
    difference may be as improbable as one of three standard deviations of a normal value. In any case it may be the
    margin below which the study calls arms equivalent, and no more where most of the other trials are identical to
    their records: there, the machines compute the same. So no record decides what it may differ by.

    Args:
        identical: for each trial, whether it has the same losses as its record, to the last digit.
        others: for each trial, the recorded accuracies of the other seeds of its arm and budget.
        margin: of equivalence.

    >>> seeds = [0.90, 0.91, 0.92, 0.91]
    >>> [round(most, 3) for most in allowed_differences([False, False, True], [seeds] * 3, margin=0.005)]
    [0.106, 0.106, 0.106]
    >>> allowed_differences([True, True, False], [seeds] * 3, margin=0.005)[-1]
    0.005
    """
    same = [2 * (sum(identical) - one) > len(identical) - 1 for one in identical]
    return tuple(
        margin if alike else max(margin, _like_another_seed(seeds)) for alike, seeds in zip(same, others, strict=True)
    )


def _like_another_seed(seeds: Sequence[float]) -> float:
    """Return the largest difference that another seed explains; 0 if there are too few seeds to tell."""
    if len(seeds) < 2:
        return 0.0
    return -float(stdtrit(len(seeds) - 1, ndtr(-REACH))) * math.sqrt(2) * stdev(seeds)
