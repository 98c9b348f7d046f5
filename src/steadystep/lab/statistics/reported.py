"""The estimates that reports show: their intervals keep to possible values and need at least three seeds."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit, logit

from steadystep.lab.statistics.intervals import Values, paired_t_interval, t_interval, wilson_interval
from steadystep.lab.statistics.summary import Estimate

FEWEST = 3
"""The number of seeds below which an estimate has no interval. With two, a t interval is 12.7 standard errors wide."""

FEWEST_ALIKE = 6
"""The same for differences that are all alike: 2^-5, the p value of the sign test, is the first below 5%."""

TOO_FEW = "too few seeds for an interval"
"""The words in place of an interval if there are fewer than three seeds."""


def mean_estimate(values: Values, interval: Callable[[Values], Estimate] = t_interval) -> Estimate:
    """Return the mean of any quantity over seeds with this interval, or without one for fewer than three seeds.

    >>> mean_estimate([0.5, 0.7])
    Estimate(mean=0.6, low=nan, high=nan)
    """
    return _with_enough(len(values), interval(values))


def accuracy_estimate(values: Values) -> Estimate:
    """Return the mean accuracy over seeds and its t interval, which stays within 0 and 1.

    If the t interval would exceed 0 or 1, it is computed on the logit scale and transformed back, with the standard
    error of the mean m divided by m (1 - m). It then covers the true mean at least as often as an interval that is
    cut off at 0 or 1. Values of exactly 0 or 1 are no special case, because the mean is transformed, not the values; a
    mean of 0 or 1 implies that all values are equal, and its interval has zero width.

    >>> accuracy_estimate([0.99, 0.99, 0.9])  # the t interval reaches 1.089
    Estimate(mean=0.96, low=0.454..., high=0.998...)
    """
    plain = t_interval(values)
    if plain.low == plain.high or not (plain.low < 0 or plain.high > 1):
        return _with_enough(len(values), plain)
    centre = float(logit(plain.mean))
    half_width = (plain.high - plain.mean) / (plain.mean * (1 - plain.mean))
    low, high = expit([centre - half_width, centre + half_width]).tolist()
    return _with_enough(len(values), Estimate(plain.mean, low, high))


def share_estimate(count: int, runs: int) -> Estimate:
    """Return a share of runs and its Wilson interval.

    >>> share_estimate(1, 2)
    Estimate(mean=0.5, low=nan, high=nan)
    """
    return _with_enough(runs, wilson_interval(count, runs))


def difference_estimate(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return the mean difference of two accuracies over paired seeds and its t interval, cut off at -1 and 1.

    Verdicts do not use this interval; a difference of accuracies cannot exceed 1, so that cutting the interval off does
    not change how often it contains the true difference. Differences that are all alike have an interval from
    `FEWEST_ALIKE` seeds on.

    Raises:
        ValueError: if the two samples differ in length.
    """
    plain = paired_t_interval(first, second)
    low, high = np.clip((plain.low, plain.high), -1, 1).tolist()
    seeds = 0 if low == high and len(first) < FEWEST_ALIKE else len(first)
    return _with_enough(seeds, Estimate(plain.mean, low, high))


def _with_enough(seeds: int, estimate: Estimate) -> Estimate:
    return estimate if seeds >= FEWEST else Estimate(estimate.mean, math.nan, math.nan)
