"""95% intervals of means and interquartile means over seeds, of differences over paired seeds, and of rates."""

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats
from scipy.special import stdtrit

from steadystep.lab.statistics.summary import Estimate

LEVEL = 0.95
RESAMPLES = 9_999

Values = Sequence[float] | np.ndarray


def t_interval(values: Values) -> Estimate:
    """Return the mean and its t interval: mean ± t(n-1, .975) · s / √n, where s is the sample standard deviation.

    The interval of equal values has zero width. A single value has no interval (nan); without values the mean is nan
    too.
    Source: Student, The probable error of a mean, Biometrika 6 (1908).

    >>> t_interval([0.0, 2.0])  # t(1, .975) = 12.706, s / √n = 1
    Estimate(mean=1.0, low=-11.706..., high=13.706...)
    """
    trivial = _trivial_estimate(values)
    if trivial:
        return trivial
    mean, count = float(np.mean(values)), len(values)
    half_width = float(stdtrit(count - 1, (1 + LEVEL) / 2) * np.std(values, ddof=1)) / math.sqrt(count)
    return Estimate(mean, mean - half_width, mean + half_width)


def paired_differences(first: Values, second: Values) -> np.ndarray:
    """Return first - second for each pair, without rounding error.

    Raises:
        ValueError: if the two samples differ in length.

    >>> paired_differences([0.93, 0.97], [0.92, 0.96]).tolist()
    [0.01, 0.01]
    """
    if len(first) != len(second):
        raise ValueError(f"pairs need two samples of the same length, got {len(first)} and {len(second)}")
    # Accuracies are counts divided by the number of examples, so anything below 1e-12 is rounding error. It must not
    # affect whether all differences are equal, or equal to the margin.
    return np.round(np.asarray(first, float) - np.asarray(second, float), 12)


def paired_t_interval(first: Values, second: Values) -> Estimate:
    """Return the mean of first - second over the pairs, and its t interval.

    Raises:
        ValueError: if the two samples differ in length.

    >>> paired_t_interval([0.93, 0.97], [0.92, 0.96])
    Estimate(mean=0.01, low=0.01, high=0.01)
    """
    return t_interval(paired_differences(first, second))


def bootstrap_interval(values: Values) -> Estimate:
    """Return the mean and its BCa bootstrap interval; the random state is fixed, so the result is reproducible.

    Source: Efron, Better bootstrap confidence intervals, JASA 82 (1987).

    >>> bootstrap_interval([0.5, 0.5, 0.5])
    Estimate(mean=0.5, low=0.5, high=0.5)
    """
    return _bootstrap(values, np.mean)


def interquartile_mean(values: Values) -> Estimate:
    """Return the mean without the lowest and the highest ⌊n/4⌋ values, and its BCa bootstrap interval.

    If BCa is undefined (leaving out any single value does not change the statistic), the percentile interval is used.
    Source: Agarwal et al., Deep RL at the edge of the statistical precipice, NeurIPS 2021.

    >>> interquartile_mean([0.0, 0.9, 0.9, 0.9]).mean
    0.9
    """
    return _bootstrap(values, _middle_half)


def wilson_interval(successes: int, trials: int) -> Estimate:
    """Return the fraction of successes and its Wilson score interval; nan if there are no trials.

    Source: Wilson, Probable inference, JASA 22 (1927).

    >>> wilson_interval(0, 10)  # high = z² / (n + z²), z = 1.96
    Estimate(mean=0.0, low=0.0, high=0.2775...)
    """
    if trials == 0:
        return Estimate(math.nan, math.nan, math.nan)
    interval = stats.binomtest(successes, trials).proportion_ci(LEVEL, method="wilson")
    return Estimate(successes / trials, float(interval.low), float(interval.high))


def _trivial_estimate(values: Values) -> Estimate | None:
    """Return the estimate if there are fewer than two values or all values are equal; otherwise None."""
    if len(values) == 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(values[0])
    if len(values) == 1:
        return Estimate(value, math.nan, math.nan)
    return Estimate(value, value, value) if np.ptp(values) == 0 else None


def _middle_half(values: np.ndarray, axis: int = -1) -> np.ndarray:
    return stats.trim_mean(values, 0.25, axis=axis)


def _bootstrap(values: Values, statistic: Callable[..., np.ndarray | np.floating]) -> Estimate:
    trivial = _trivial_estimate(values)
    if trivial:
        return trivial
    sample = np.asarray(values, float)

    def interval(method: str) -> tuple[float, float]:
        rng = np.random.default_rng(0)
        result = stats.bootstrap(
            (sample,), statistic, n_resamples=RESAMPLES, confidence_level=LEVEL, method=method, rng=rng
        )
        return float(result.confidence_interval.low), float(result.confidence_interval.high)

    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        low, high = interval("BCa")
    if math.isnan(low) or math.isnan(high):
        low, high = interval("percentile")
    return Estimate(float(statistic(sample, axis=-1)), low, high)
