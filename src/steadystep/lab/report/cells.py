"""Format numbers as text, in the same way in every output format of a report."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from steadystep.lab.counted import count
from steadystep.lab.statistics.reported import FEWEST, TOO_FEW
from steadystep.lab.statistics.summary import Estimate
from steadystep.lab.tasks.loss_unit import LossUnit
from steadystep.lab.training.trial import Trial

NOTHING = "–"
"""The text of a cell without a measured value."""


def percent(fraction: float, digits: int = 2) -> str:
    """Return a fraction of 1 as a percentage, without the percent sign because column headings give the unit.

    >>> percent(0.9553), percent(float("nan"))
    ('95.53', '–')
    """
    return f"{100 * fraction:.{digits}f}" if math.isfinite(fraction) else NOTHING


def estimate(value: Estimate) -> str:
    """Return a mean with its 95% interval, in percent: half the width, or both ends if they are not equally far away.

    >>> estimate(Estimate(0.9553, 0.9521, 0.9585)), estimate(Estimate(0.9553, math.nan, math.nan))
    ('95.53 ± 0.32', '95.53')
    >>> estimate(Estimate(0.96, 0.4543, 0.9986))
    '96.00 [45.43, 99.86]'
    """
    if not math.isfinite(value.low):
        return percent(value.mean)
    below, above = percent(value.mean - value.low), percent(value.high - value.mean)
    if below == above:
        return f"{percent(value.mean)} ± {above}"
    return f"{percent(value.mean)} [{percent(value.low)}, {percent(value.high)}]"


def over_seeds(seeds: int, interval: str = "with 95% intervals") -> str:
    """Return the number of seeds with the kind of interval over them.

    >>> over_seeds(5), over_seeds(1)
    ('5 seeds, with 95% intervals', '1 seed, too few seeds for an interval')
    """
    return f"{count(seeds, 'seed')}, {interval if seeds >= FEWEST else TOO_FEW}"


def percent_interval(value: Estimate) -> str:
    """Return the 95% interval of an accuracy after a space, for the text at the pointer, or nothing without one.

    >>> percent_interval(Estimate(0.9553, 0.9521, 0.9585)), percent_interval(Estimate(0.9553, math.nan, math.nan))
    (' [95.21%, 95.85%]', '')
    """
    return f" [{percent(value.low)}%, {percent(value.high)}%]" if math.isfinite(value.low) else ""


def share_interval(value: Estimate) -> str:
    """Return a share of runs and its interval, in whole percent.

    >>> share_interval(Estimate(0.5, 0.2366, 0.7634)), share_interval(Estimate(0.5, math.nan, math.nan))
    ('50 [24, 76]', '50')
    """
    share_of_runs = percent(value.mean, 0)
    return (
        f"{share_of_runs} [{percent(value.low, 0)}, {percent(value.high, 0)}]"
        if math.isfinite(value.low)
        else share_of_runs
    )


def mean_words(seeds: int, interval: str = "mean ± 95% interval") -> str:
    """Return what a cell of `estimate` shows for this number of seeds, with the name of the interval.

    >>> mean_words(5), mean_words(2)
    ('mean ± 95% interval', 'mean, too few seeds for an interval')
    """
    return interval if seeds >= FEWEST else f"mean, {TOO_FEW}"


def loss_estimate(value: Estimate, unit: LossUnit) -> str:
    """Return a mean loss and its 95% interval, converted to a unit; a nonlinear unit makes the interval asymmetric.

    >>> loss_estimate(Estimate(5.0, 4.9, 5.1), LossUnit("perplexity", math.exp))
    '148 [134, 164]'
    """
    mean, low, high = (quantity(unit.of(part)) for part in (value.mean, value.low, value.high))
    return f"{mean} [{low}, {high}]" if math.isfinite(value.low) else mean


def points(fraction: float, digits: int = 2) -> str:
    """Return a difference of two accuracies in points (1 point = 0.01), with its sign.

    >>> points(0.0003), points(-0.0241), points(-1e-9)
    ('+0.03', '−2.41', '+0.00')
    """
    return signed(100 * fraction, digits) if math.isfinite(fraction) else NOTHING


def signed(value: float, digits: int) -> str:
    """Return a difference with its sign.

    >>> signed(-0.25, 3), signed(-1e-9, 3)
    ('−0.250', '+0.000')
    """
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")  # + 0.0 turns -0.0 into 0.0


def points_interval(value: Estimate) -> str:
    """Return the 95% interval of a difference in points, or an empty string if there is no interval.

    >>> points_interval(Estimate(0.0003, -0.001, 0.0016))
    '[−0.10, +0.16]'
    """
    return f"[{points(value.low)}, {points(value.high)}]" if math.isfinite(value.low) else ""


def margin(fraction: float) -> str:
    """Return a margin in points, with up to three significant digits.

    >>> margin(0.005)
    '0.5'
    """
    return f"{100 * fraction:.3g}"


def setting(value: float) -> str:
    """Return a hyperparameter with up to three significant digits.

    >>> setting(0.001), setting(3e-05), setting(2.15743)
    ('0.001', '3e-05', '2.16')
    """
    return f"{value:.3g}"


def settings_range(low: float, high: float) -> str:
    """Return the ends of a range of hyperparameters, with as many digits as tell them apart, or its only value.

    >>> settings_range(0.001, 0.1), settings_range(0.1, 0.1), settings_range(0.10001, 0.10002)
    ('0.001 to 0.1', '0.1', '0.10001 to 0.10002')
    """
    if low == high:
        return setting(low)
    texts = ((f"{low:.{digits}g}", f"{high:.{digits}g}") for digits in range(3, 18))
    return " to ".join(next((least, most) for least, most in texts if least != most))


def quantity(value: float) -> str:
    """Return a measured number with three significant digits, never in scientific notation.

    >>> [quantity(value) for value in (0.0312, 1.2345, 12.345, 1234.5)]
    ['0.0312', '1.23', '12.3', '1234']
    """
    if not math.isfinite(value):
        return NOTHING
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}" if value else "0"


def seconds(value: float) -> str:
    """Return a duration in seconds, minutes, or hours and minutes.

    >>> seconds(0.42), seconds(90), seconds(7325)
    ('0.42 s', '90 s', '2 h 2 min')
    """
    if not math.isfinite(value):
        return NOTHING
    if value < 120:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def flops(value: float) -> str:
    """Return a number of floating-point operations with an SI prefix.

    >>> flops(3.2e10), flops(1800)
    ('32.0 G', '1.80 k')
    """
    for factor, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{quantity(value / factor)} {prefix}"
    return quantity(value)


def p_value(value: float | None) -> str:
    """Return a p value with three decimals, or a dash if nothing was tested.

    >>> p_value(0.0312), p_value(1e-9), p_value(None)
    ('0.031', '< 0.001', '–')
    """
    if value is None or math.isnan(value):
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def join_with_and(items: Sequence[str]) -> str:
    """Join the items into a phrase with commas and "and".

    >>> join_with_and(["a"]), join_with_and(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else list(items))


def clip(trial: Trial) -> str:
    """Return the clipper of a trial and its threshold as text, or a dash if the trial does not clip."""
    return str(trial.clip) if trial.clip else NOTHING


def share(part: float, whole: float) -> str:
    """Return a part as a percentage of the whole, or a dash if the whole is 0.

    >>> share(0.23, 1.23)
    '19'
    """
    return percent(part / whole, 0) if whole else NOTHING


def distinct(values: Iterable[str]) -> str:
    """Return the distinct values joined into a phrase, with the most frequent value first.

    >>> distinct(["2.6.0", "2.7.0", "2.7.0"])
    '2.7.0 and 2.6.0'
    """
    return join_with_and([value for value, _ in Counter(values).most_common()])
