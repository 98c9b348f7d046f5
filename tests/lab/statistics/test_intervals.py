"""Intervals, checked by hand and compared with scipy and statsmodels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from steadystep.lab.statistics.intervals import (
    bootstrap_interval,
    interquartile_mean,
    paired_differences,
    paired_t_interval,
    t_interval,
    wilson_interval,
)
from steadystep.lab.statistics.summary import Estimate

MEANS = [t_interval, bootstrap_interval, interquartile_mean]

accuracies = st.lists(st.integers(0, 360).map(lambda right: right / 360), min_size=2, max_size=15)


def test_t_interval_by_hand() -> None:
    # Mean 3, s = √2.5, t(4, .975) = 2.776445: the half-width is 2.776445 √2.5 / √5 = 1.963243.
    found = t_interval([1, 2, 3, 4, 5])
    assert (found.mean, found.low, found.high) == pytest.approx((3, 1.036757, 4.963243), abs=1e-6)


@given(accuracies)
def test_t_interval_agrees_with_statsmodels(values: list[float]) -> None:
    found = t_interval(values)
    if len(set(values)) == 1:
        assert found == Estimate(values[0], values[0], values[0])
    else:
        assert (found.low, found.high) == pytest.approx(DescrStatsW(values).tconfint_mean(0.05), abs=1e-12)


@pytest.mark.parametrize("interval", MEANS)
def test_one_value_has_a_mean_and_no_interval(interval) -> None:
    found = interval([0.9])
    assert found.mean == 0.9
    assert math.isnan(found.low) and math.isnan(found.high)


@pytest.mark.parametrize("interval", MEANS)
def test_no_value_has_no_mean(interval) -> None:
    assert all(math.isnan(number) for number in vars(interval([])).values())


@pytest.mark.parametrize("interval", MEANS)
@pytest.mark.parametrize("count", [2, 3, 10])
def test_equal_values_have_zero_width(interval, count: int) -> None:
    # The floating-point mean of ten values of 0.1 need not be 0.1, but the estimate's mean is.
    assert interval([0.1] * count) == Estimate(0.1, 0.1, 0.1)


@pytest.mark.parametrize("interval", MEANS)
def test_two_values_have_an_interval(interval) -> None:
    found = interval([0.9, 0.8])
    assert found.mean == pytest.approx(0.85)
    assert found.low < found.mean < found.high


@pytest.mark.parametrize("interval", [bootstrap_interval, interquartile_mean])
@settings(max_examples=25, deadline=None)
@given(accuracies)
def test_bootstrap_intervals_stay_within_the_values_and_repeat(interval, values: list[float]) -> None:
    found = interval(values)
    assert min(values) - 1e-12 <= found.low <= found.high <= max(values) + 1e-12
    assert interval(values) == found


def test_bootstrap_interval_is_near_the_t_interval_on_many_values() -> None:
    values = np.random.default_rng(3).normal(size=400)
    found, expected = bootstrap_interval(values), t_interval(values)
    assert found.mean == pytest.approx(expected.mean)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_interquartile_mean_by_hand() -> None:
    # The two lowest and the two highest of ten values are removed, which leaves the mean of 3, 4, 5, 6, 7, 8.
    assert interquartile_mean([1, 2, 3, 4, 5, 6, 7, 8, 9, 1000]).mean == 5.5


def test_interquartile_mean_where_bca_is_undefined() -> None:
    # Leaving out any single value does not change the middle half.
    found = interquartile_mean([0.0, *[0.5] * 10, 1.0])
    assert found == Estimate(0.5, 0.5, 0.5)


@given(st.data())
def test_wilson_interval_agrees_with_statsmodels(data: st.DataObject) -> None:
    trials = data.draw(st.integers(1, 50))
    successes = data.draw(st.integers(0, trials))
    found = wilson_interval(successes, trials)
    expected = proportion_confint(successes, trials, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_wilson_interval_by_hand() -> None:
    # Centre (k + z²/2) / (n + z²), z² = 3.841459, k = 5, n = 10: the centre is 1/2.
    found = wilson_interval(5, 10)
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.236593, 0.763407), abs=1e-6)


def test_wilson_interval_of_nothing() -> None:
    assert all(math.isnan(number) for number in vars(wilson_interval(0, 0)).values())


@given(st.data())
def test_paired_interval_agrees_with_scipy(data: st.DataObject) -> None:
    first = data.draw(accuracies)
    second = data.draw(st.lists(st.sampled_from(first), min_size=len(first), max_size=len(first)))
    found = paired_t_interval(first, second)
    if np.ptp(paired_differences(first, second)) == 0:
        assert found.low == found.mean == found.high
    else:
        expected = stats.ttest_rel(first, second).confidence_interval()
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_paired_differences_have_no_rounding_error() -> None:
    assert 0.93 - 0.92 != 0.03 - 0.02
    assert paired_differences([0.93, 0.03], [0.92, 0.02]).tolist() == [0.01, 0.01]


def test_pairs_need_samples_of_one_length() -> None:
    with pytest.raises(ValueError, match="same length, got 2 and 1"):
        paired_t_interval([0.1, 0.2], [0.1])
