"""Verdicts, checked by hand and compared with scipy and statsmodels, and their error rates in A/A studies."""

import gc
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from lab_factory import make_record, make_results, make_task, make_trial, resample_as_aa
from steadystep.lab.statistics.intervals import wilson_interval
from steadystep.lab.statistics.reported import FEWEST, FEWEST_ALIKE
from steadystep.lab.statistics.summary import Verdict
from steadystep.lab.statistics.verdicts import (
    decide,
    difference_p,
    equivalence_p,
    holm,
    improvement_probability,
    judge,
    paired_accuracies,
    verdicts,
)
from steadystep.lab.study.records import Results

REPETITIONS = 2_000
NOISE = 2 * 1.96 * math.sqrt(0.05 * 0.95 / REPETITIONS)
"""How far above 5% the upper Wilson bound of a rate of exactly 5% may be: one half-width of the interval, because the
bound is above the observed rate, and another one, because the observed rate may be above 5% by chance."""


@pytest.fixture(scope="module", autouse=True)
def cheap_collections() -> Iterator[None]:
    """Exclude existing objects from garbage collection, which statsmodels runs in every call of Holm's method."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def one(first: list[float], second: list[float], margin: float = 0.005) -> Verdict:
    return judge({("b", "a"): (first, second)}, margin)[0]


@pytest.mark.parametrize("seed", range(20))
def test_tests_agree_with_scipy_and_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = 0.95 + 0.005 * rng.standard_normal(10)
    second = first + 0.003 * rng.standard_normal(10) + rng.uniform(-0.01, 0.01)
    assert difference_p(first - second) == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=1e-9)
    expected = ttost_paired(first, second, -0.005, 0.005)[0]
    assert equivalence_p(first - second, 0.005) == pytest.approx(expected, rel=1e-9)
    found = one(first.tolist(), second.tolist())
    assert found.p_difference == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=1e-6)
    assert found.p_equivalence == pytest.approx(expected, rel=1e-6)


def test_t_tests_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, s / √n = 1 / √3, t = 2 √3. With 2 degrees of freedom P(T >= t) is
    # 1/2 - t / (2 √(t² + 2)) = 1/2 - √3 / √14.
    differences = np.array([1.0, 2.0, 3.0])
    tail = 0.5 - math.sqrt(3 / 14)
    assert difference_p(differences) == pytest.approx(2 * tail)
    # The mean is as far from a margin of 4 as from 0.
    assert equivalence_p(differences, margin=4) == pytest.approx(tail)


@pytest.mark.parametrize("number", [2, 4, 6, 10])
@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (0.0, "equivalent"),
        (0.004, "equivalent"),
        (-0.004, "equivalent"),
        (0.005, "better"),  # a difference equal to the margin is not equivalent
        (-0.005, "worse"),
        (0.02, "better"),
    ],
)
def test_without_variance_the_sign_test_decides(difference: float, verdict: str, number: int) -> None:
    base = [0.91, 0.93, 0.87, 0.9, 0.89, 0.92, 0.9, 0.91, 0.94, 0.88][:number]
    found = one([value + difference for value in base], base)
    different = stats.binomtest(number, number).pvalue if difference else 1.0
    equivalent = stats.binomtest(number, number, alternative="greater").pvalue if abs(difference) < 0.005 else 1.0
    expected = (different, equivalent) if number >= FEWEST else (math.nan, math.nan)
    assert (found.p_difference, found.p_equivalence) == pytest.approx(expected, nan_ok=True)
    assert found.verdict == (verdict if number >= 6 else "undecided")
    assert found.difference.mean == difference
    if number >= FEWEST_ALIKE:
        assert found.difference.low == found.difference.high == difference
    else:
        assert math.isnan(found.difference.low) and math.isnan(found.difference.high)


@pytest.mark.parametrize(("first", "second"), [([], []), ([0.9], [0.1]), ([0.9, 0.91], [0.1, 0.1])])
def test_fewer_pairs_than_an_interval_needs_are_undecided(first: list[float], second: list[float]) -> None:
    found = one(first, second)
    assert (found.verdict, found.pairs) == ("undecided", len(first))
    assert math.isnan(found.p_difference) and math.isnan(found.p_equivalence)


def test_a_pair_that_cannot_be_tested_does_not_weaken_the_others() -> None:
    pair = ([0.91, 0.93, 0.95], [0.9, 0.91, 0.92])
    alone = judge({("b", "a"): pair}, 0.005)[0]
    beside = judge({("b", "a"): pair, ("c", "a"): ([0.9], [0.9])}, 0.005)
    assert beside[0] == alone
    assert beside[1].verdict == "undecided"


@pytest.mark.parametrize(
    ("difference", "p_difference", "p_equivalence", "verdict"),
    [
        (0.001, 0.001, 0.001, "equivalent"),
        (0.02, 0.049, 0.05, "better"),
        (-0.02, 0.049, 0.05, "worse"),
        (0.02, 0.05, 0.05, "undecided"),
        (0.02, math.nan, math.nan, "undecided"),
    ],
)
def test_decision_table(difference: float, p_difference: float, p_equivalence: float, verdict: str) -> None:
    assert decide(difference, p_difference, p_equivalence) == verdict


def test_holm_by_hand() -> None:
    # The sorted values .01, .02, .03 are multiplied by 3, 2, 1, and each result is at least the one before.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []
    assert math.isnan(holm([math.nan])[0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)
    assert min(adjusted) == pytest.approx(min(1, min(p_values) * len(p_values)))


def test_verdicts_use_adjusted_p_values() -> None:
    rng = np.random.default_rng(0)
    samples = {(str(i), "a"): ((0.9 + 0.01 * rng.standard_normal(10)).tolist(), [0.9] * 10) for i in range(4)}
    found = judge(samples, 0.005)
    alone = [one(*pair) for pair in samples.values()]
    assert [v.p_difference for v in found] == pytest.approx(holm([v.p_difference for v in alone]))
    assert [v.p_equivalence for v in found] == pytest.approx(holm([v.p_equivalence for v in alone]))


counts = st.integers(0, 360).map(lambda right: right / 360)
paired = st.lists(st.tuples(counts, counts), min_size=0, max_size=12)


@given(paired, st.sampled_from([0.0, 0.001, 0.005, 0.5]))
def test_swapping_the_arms_mirrors_the_verdict(pairs: list[tuple[float, float]], margin: float) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    there, back = one(first, second, margin), one(second, first, margin)
    mirror = {"better": "worse", "worse": "better"}
    assert back.verdict == mirror.get(there.verdict, there.verdict)
    assert back.p_difference == pytest.approx(there.p_difference, nan_ok=True)
    assert back.p_equivalence == pytest.approx(there.p_equivalence, nan_ok=True)
    assert back.improvement == pytest.approx(1 - there.improvement, nan_ok=True)
    assert back.difference.mean == pytest.approx(-there.difference.mean, nan_ok=True)


@given(paired, st.floats(0, 0.2), st.floats(0, 0.2))
def test_a_wider_margin_never_makes_equivalence_harder(
    pairs: list[tuple[float, float]], margin: float, more: float
) -> None:
    assume(len(pairs) >= FEWEST)
    differences = np.array([a - b for a, b in pairs])
    assert equivalence_p(differences, margin + more) <= equivalence_p(differences, margin) + 1e-12


@given(paired)
def test_a_better_arm_has_an_interval_above_zero(pairs: list[tuple[float, float]]) -> None:
    found = one([a for a, _ in pairs], [b for _, b in pairs], margin=0.0)
    # Test and interval are equivalent: p < .05 if and only if the 95% interval does not contain 0.
    alike = len({round(a - b, 9) for a, b in pairs}) == 1
    if len(pairs) < FEWEST or (alike and len(pairs) < FEWEST_ALIKE):
        assert math.isnan(found.difference.low) and math.isnan(found.difference.high)
        return
    assert (found.verdict == "better") == (found.difference.low > 0)
    assert (found.verdict == "worse") == (found.difference.high < 0)


def test_probability_of_improvement_by_hand() -> None:
    assert improvement_probability(np.array([0.1, 0.2, -0.1, 0.0])) == 0.625
    assert improvement_probability(np.zeros(3)) == 0.5
    assert math.isnan(improvement_probability(np.array([])))


def found_between(results: Results, arm: str, against: str) -> Verdict:
    return next(v for v in verdicts(results) if (v.arm, v.against) == (arm, against))


def test_every_pair_of_arms_has_a_verdict_on_the_test_split() -> None:
    results = make_results()
    found = verdicts(results)
    assert [(v.arm, v.against) for v in found] == [
        ("Adam", "SGD"),
        ("Adam + clip", "SGD"),
        ("Adam + clip", "Adam"),
    ]
    assert [v.verdict for v in found[:2]] == ["better", "better"]
    adam = [run.test_accuracy or 0 for run in results.final["Adam", 4]]
    sgd = [run.test_accuracy or 0 for run in results.final["SGD", 4]]
    assert found[0].difference.mean == pytest.approx(np.mean(adam) - np.mean(sgd))
    assert all((v.pairs, v.margin) == (10, 0.005) for v in found)


def test_one_arm_has_no_verdict() -> None:
    assert verdicts(make_results(arms=make_task().arms[:1])) == ()


def test_a_diverged_run_counts_with_chance_accuracy() -> None:
    results = make_results(diverged={"Adam": [3]})
    found = found_between(results, "Adam", "SGD")
    clean = found_between(make_results(), "Adam", "SGD")
    lost = make_results().final["Adam", 4][3].test_accuracy
    assert lost is not None and found.pairs == 10
    assert found.difference.mean == pytest.approx(clean.difference.mean - (lost - 0.1) / 10)
    assert (clean.verdict, found.verdict) == ("better", "undecided")


@pytest.mark.parametrize(
    ("lost", "verdict"), [(1, "undecided"), (2, "undecided"), (3, "undecided"), (4, "worse"), (10, "worse")]
)
def test_many_diverged_runs_make_an_arm_worse(lost: int, verdict: str) -> None:
    results = make_results(diverged={"Adam + clip": range(lost)})
    judged = judge(
        {
            ("Adam + clip", "Adam"): paired_accuracies(
                {run.trial.seed: run for run in results.final["Adam + clip", 4]},
                {run.trial.seed: run for run in results.final["Adam", 4]},
                chance=0.1,
            )
        },
        0.005,
    )
    assert judged[0].verdict == verdict


def test_arms_that_both_diverge_are_undecided_not_equivalent() -> None:
    results = make_results(diverged={"SGD": range(10), "Adam": range(10)})
    found = found_between(results, "Adam", "SGD")
    assert (found.verdict, found.pairs) == ("undecided", 0)
    assert math.isnan(found.difference.mean) and math.isnan(found.improvement)


def test_runs_are_paired_by_seed_not_by_position() -> None:
    results = make_results()
    shuffled = {**results.final, ("Adam", 4): list(reversed(results.final["Adam", 4]))}
    assert verdicts(replace(results, final=shuffled)) == verdicts(results)
    adam = [make_record(make_trial(seed=seed)) for seed in (2, 3, 4)]
    fewer = found_between(replace(results, final={**results.final, ("Adam", 4): adam}), "Adam", "SGD")
    assert fewer.pairs == 3


def simulated(arms: int, margin: float, seed: int) -> Callable[[], tuple[Verdict, ...]]:
    """Return a simulated A/A study: all arms share one distribution, with noise of half a point, partly per seed."""
    rng = np.random.default_rng(seed)

    def repetition() -> tuple[Verdict, ...]:
        shared = 0.003 * rng.standard_normal(10)
        accuracy = 0.95 + shared + 0.004 * rng.standard_normal((arms, 10))
        counted = np.round(accuracy * 10_000) / 10_000
        samples = {
            (str(b), str(a)): (counted[b].tolist(), counted[a].tolist()) for a, b in combinations(range(arms), 2)
        }
        return judge(samples, margin)

    return repetition


def false_verdicts(repetition: Callable[[], tuple[Verdict, ...]]) -> tuple[list[float], float]:
    """Return upper Wilson bounds on the rate of "better" or "worse" verdicts over repetitions of an A/A study.

    There is one bound for each pair of arms, and one for repetitions with any such verdict. Repetitions are
    independent, so each bound has REPETITIONS trials; pairs within a repetition are not independent.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    families = 0
    for _ in range(REPETITIONS):
        judged = repetition()
        wrong = [(v.arm, v.against) for v in judged if v.verdict in ("better", "worse")]
        pairs.update({(v.arm, v.against): 0 for v in judged})
        pairs.update(wrong)
        families += bool(wrong)
    bounds = [wilson_interval(count, REPETITIONS).high for count in pairs.values()]
    return bounds, wilson_interval(families, REPETITIONS).high


@pytest.mark.parametrize("margin", [0.005, 1e-9])
def test_aa_of_three_arms(margin: float) -> None:
    by_pair, by_family = false_verdicts(simulated(arms=3, margin=margin, seed=1))
    assert len(by_pair) == 3
    # Holm's method over three pairs gives each about a third of the 5%, so no allowance for noise is needed.
    assert max(by_pair) <= 0.05
    assert by_family <= 0.05 + NOISE


@pytest.mark.parametrize("margin", [0.005, 1e-9])
def test_aa_of_two_arms(margin: float) -> None:
    # With one pair nothing is adjusted: with a margin that is never reached the rate is exactly 5%.
    (bound,), _ = false_verdicts(simulated(arms=2, margin=margin, seed=2))
    assert bound <= 0.05 + NOISE
    if margin == 1e-9:
        assert bound >= 0.05  # the test keeps its power


@pytest.mark.parametrize("diverged", [{}, {"Adam": [4]}])
def test_aa_of_recorded_runs_resampled(diverged: dict[str, list[int]]) -> None:
    results = make_results(diverged=diverged)
    rng = np.random.default_rng(5)
    by_pair, by_family = false_verdicts(lambda: verdicts(resample_as_aa(results, "Adam", rng)))
    assert max(by_pair) <= 0.05
    assert by_family <= 0.05 + NOISE


def test_resampled_runs_keep_the_seeds_and_come_from_one_arm() -> None:
    results = make_results()
    drawn = resample_as_aa(results, "SGD", np.random.default_rng(0))
    known = {run.test_accuracy for run in results.final["SGD", 4]}
    for arm in results.study.arms:
        runs = drawn.final[arm.name, 4]
        assert [run.trial.seed for run in runs] == list(range(10))
        assert {run.test_accuracy for run in runs} <= known
        assert drawn.final[arm.name, 2] == results.final[arm.name, 2]
