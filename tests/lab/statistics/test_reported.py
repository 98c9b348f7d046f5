"""Reported intervals stay within the possible values, need three seeds, and cover the mean as often as they say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from steadystep.lab.statistics.intervals import paired_t_interval, t_interval, wilson_interval
from steadystep.lab.statistics.reported import (
    FEWEST,
    FEWEST_ALIKE,
    accuracy_estimate,
    difference_estimate,
    mean_estimate,
    share_estimate,
)
from steadystep.lab.statistics.summary import Estimate

accuracies = st.lists(st.integers(0, 360).map(lambda right: right / 360), min_size=1, max_size=10)


@given(accuracies)
def test_an_accuracy_interval_stays_within_0_and_1_and_contains_the_mean(values: list[float]) -> None:
    found, plain = accuracy_estimate(values), t_interval(values)
    assert found.mean == plain.mean
    if len(values) < FEWEST:
        assert math.isnan(found.low) and math.isnan(found.high)
        return
    assert 0 <= found.low <= found.mean <= found.high <= 1
    if plain.low >= 0 and plain.high <= 1:
        assert found == plain


@given(st.lists(st.sampled_from((0.0, 1.0)), min_size=FEWEST, max_size=10))
def test_accuracies_of_exactly_0_and_1_have_an_interval(values: list[float]) -> None:
    found = accuracy_estimate(values)
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert (found.low == found.high) == (len(set(values)) == 1)


def test_the_transformed_interval_by_hand() -> None:
    values = (1.0, 0.5, 0.995)
    mean, error = np.mean(values), np.std(values, ddof=1) / 3**0.5
    half = 4.302653 * error / (mean * (1 - mean))
    found = accuracy_estimate(values)
    assert (found.low, found.high) == pytest.approx(tuple(expit([logit(mean) - half, logit(mean) + half])), abs=1e-6)


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("right", [(28.5, 1.5), (29.7, 0.3)], ids=["95%", "99%"])
def test_it_covers_the_mean_at_least_as_often_as_one_cut_off_at_1(right: tuple[float, float], seeds: int) -> None:
    rng, truth = np.random.default_rng(0), right[0] / sum(right)
    samples = rng.binomial(10_000, rng.beta(right[0], right[1], (2_000, seeds))) / 10_000
    found = [accuracy_estimate(sample) for sample in samples]
    plain = [t_interval(sample) for sample in samples]
    covered = sum(estimate.low <= truth <= estimate.high for estimate in found)
    assert covered >= sum(estimate.low <= truth <= min(estimate.high, 1) for estimate in plain)
    assert covered / len(samples) > 0.85


@given(st.integers(0, 20).flatmap(lambda runs: st.tuples(st.integers(0, runs), st.just(runs))))
def test_a_share_has_a_wilson_interval_from_three_runs_on(counts: tuple[int, int]) -> None:
    found = share_estimate(*counts)
    if counts[1] >= FEWEST:
        assert found == wilson_interval(*counts)
    else:
        assert math.isnan(found.low) and math.isnan(found.high)


@given(st.lists(st.tuples(st.sampled_from((0.0, 0.5, 1.0)), st.sampled_from((0.0, 0.5, 1.0))), max_size=6))
def test_a_difference_stays_within_100_points(pairs: list[tuple[float, float]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    found, plain = difference_estimate(first, second), paired_t_interval(first, second)
    alike = len({a - b for a, b in pairs}) == 1
    if len(pairs) < FEWEST or (alike and len(pairs) < FEWEST_ALIKE):
        assert math.isnan(found.low)
        return
    assert found == Estimate(plain.mean, max(plain.low, -1.0), min(plain.high, 1.0))


def test_too_few_values_have_a_mean_and_no_interval() -> None:
    assert mean_estimate([2.0, 4.0]).mean == 3.0 and math.isnan(mean_estimate([2.0, 4.0]).low)
    assert mean_estimate([2.0, 4.0, 6.0]) == t_interval([2.0, 4.0, 6.0])
