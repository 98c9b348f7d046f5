"""Several looks at growing data: published bounds, error rates by simulation, and what a study does with them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from benchmarks.error_rates import DESIGNS, SHAPES, Design, cheap_collections, rates
from steadystep.lab.statistics.sequential.levels import one_sided_levels
from steadystep.lab.statistics.sequential.p_value import sequential_p
from steadystep.lab.statistics.sequential.spent import Function, obrien_fleming, pocock
from steadystep.lab.statistics.verdicts import difference_p, equivalence_p, judge, judge_looks, seeds_needed

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.mark.parametrize(
    ("spending", "bounds"),
    [
        # Tables of the bounds for five equal looks and 5% on two sides, such as in the R package ldbounds.
        ("obrien-fleming", [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        ("pocock", [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
    ],
)
def test_bounds_are_those_of_published_tables(spending: str, bounds: list[float]) -> None:
    levels = one_sided_levels(FIFTHS, 0.025, spending)  # type: ignore[arg-type]
    assert [-ndtri(level) for level in levels] == pytest.approx(bounds, abs=2e-4)


@pytest.mark.parametrize("spent", [obrien_fleming, pocock])
@given(alpha=st.floats(1e-4, 0.3), share=st.floats(0.01, 1.0), more=st.floats(1.0, 1.5))
def test_what_is_spent_rises_to_alpha(spent: Function, alpha: float, share: float, more: float) -> None:
    assert 0 <= spent(alpha, share) <= spent(alpha, min(share * more, 1.0)) + 1e-12 <= alpha + 1e-9
    assert spent(alpha, 1.0) == alpha


@pytest.mark.parametrize("spending", ["pocock", "obrien-fleming"])
@pytest.mark.parametrize("shares", [(0.5, 1.0), (0.0625, 0.125, 0.25, 0.5, 1.0), (0.1, 0.9, 1.0)])
@pytest.mark.parametrize("alpha", [0.025, 0.005])
def test_all_looks_together_reject_as_rarely_as_declared(
    spending: str, shares: tuple[float, ...], alpha: float
) -> None:
    levels = one_sided_levels(shares, alpha, spending)  # type: ignore[arg-type]
    random = np.random.default_rng(0)
    steps = random.standard_normal((400_000, len(shares))) * np.sqrt(np.diff([0.0, *shares]))
    statistics = np.cumsum(steps, axis=1) / np.sqrt(shares)
    rejected = (ndtr(-statistics) <= np.array(levels)).any(axis=1).mean()
    assert rejected == pytest.approx(alpha, abs=4 * math.sqrt(alpha / 400_000))


@given(p=st.floats(1e-6, 1.0))
def test_one_look_at_all_data_leaves_its_p_value(p: float) -> None:
    assert sequential_p([p], (1.0,), "pocock") == p


@given(
    st.lists(st.floats(1e-5, 1.0), min_size=1, max_size=5),
    st.sampled_from(["pocock", "obrien-fleming"]),
    st.sampled_from([1, 2]),
)
def test_the_p_value_is_below_a_rate_if_and_only_if_a_look_rejects_at_it(
    p_values: list[float], spending: str, sides: int
) -> None:
    found = sequential_p(p_values, FIFTHS, spending, sides=sides)  # type: ignore[arg-type]
    for alpha in (0.001, 0.01, 0.05, 0.2):
        levels = one_sided_levels(FIFTHS, alpha / sides, spending)  # type: ignore[arg-type]
        ratios = [p / sides / level for p, level in zip(p_values, levels, strict=False)]
        if min(ratios) < 0.98:
            assert found < alpha
        if min(ratios) > 1.02:
            assert found > alpha


def test_a_look_that_cannot_be_tested_is_left_out() -> None:
    assert math.isnan(sequential_p([math.nan], FIFTHS, "pocock"))
    assert sequential_p([math.nan, 0.001], FIFTHS, "pocock") > 0.001


def test_a_decided_pair_keeps_its_verdict_and_the_numbers_of_its_look() -> None:
    random = np.random.default_rng(0)
    base = 0.9 + 0.001 * random.standard_normal(40)
    better = base + 0.02 + 0.001 * random.standard_normal(40)
    open_ = base + 0.02 * random.standard_normal(40)
    pairs = {("b", "a"): (better, base), ("c", "a"): (open_, base), ("c", "b"): (open_, better)}
    looks = [{pair: (a[:n].tolist(), b[:n].tolist()) for pair, (a, b) in pairs.items()} for n in (10, 20, 40)]
    looks[2]["b", "a"] = (base.tolist(), better.tolist())  # what comes later is not looked at
    found = {(v.arm, v.against): v for v in judge_looks(looks, 0.005, (10, 20, 40), "pocock")}
    first = judge(looks[0], 0.005)[0]
    assert (found["b", "a"].verdict, found["b", "a"].seeds, found["b", "a"].pairs) == ("better", 10, 10)
    assert found["b", "a"].difference == first.difference
    assert found["c", "a"].seeds in (20, 40) or found["c", "a"].verdict != "undecided"


def test_an_undecided_pair_says_how_many_seeds_would_decide_it() -> None:
    random = np.random.default_rng(1)
    first, second = 0.9 + 0.01 * random.standard_normal((2, 10))
    found = judge({("b", "a"): (first.tolist(), second.tolist())}, 0.005)[0]
    assert found.verdict == "undecided" and found.seeds_needed is not None
    many = 0.9 + 0.01 * random.standard_normal((2, 4 * found.seeds_needed))
    many += (np.array([first.mean(), second.mean()]) - many.mean(axis=1))[:, None]
    later = judge({("b", "a"): (many[0].tolist(), many[1].tolist())}, 0.005)[0]
    assert later.verdict != "undecided"


@pytest.mark.parametrize("difference", [0.0, 0.001, 0.003])
def test_so_many_seeds_decide_a_pair_in_four_of_five_studies(difference: float) -> None:
    random, margin = np.random.default_rng(2), 0.005
    start = random.standard_normal(10)
    start = difference + 0.01 * (start - start.mean()) / start.std(ddof=1)
    seeds = seeds_needed(start, margin, pairs=1)
    assert seeds is not None
    studies = difference + 0.01 * random.standard_normal((2000, seeds))
    different = np.mean([difference_p(study) < 0.05 for study in studies])
    equivalent = np.mean([equivalence_p(study, margin) < 0.05 for study in studies])
    assert 0.76 < max(different, equivalent) < 0.84


@pytest.mark.slow
@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
@pytest.mark.parametrize("shape", SHAPES)
def test_false_verdicts_are_rare(design: Design, shape: str) -> None:
    """The figures of 4,000 repetitions are in docs/verdicts.md."""
    repetitions = 2_000
    noise = 3 * math.sqrt(0.05 * 0.95 / repetitions)
    with cheap_collections():
        found = rates(design, shape, repetitions, seed=1)
    assert found.false_difference[0] <= 0.05 + noise
    assert found.false_equivalence[0] <= 0.05 + noise
