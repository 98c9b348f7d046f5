"""Epochs to convergence: definitions checked by hand, and statistics compared with statsmodels."""

import math
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from lab_factory import make_record, make_results, make_task, make_trial
from steadystep.lab.statistics.convergence import (
    DEFINITIONS,
    convergence,
    first_reach,
    kaplan_meier_median,
    log_rank,
    loss_reach,
    near_best,
    smallest_budget,
    sustained_reach,
)
from steadystep.lab.statistics.summary import Convergence
from steadystep.lab.study.records import Results
from steadystep.lab.training.record import Curve

NAN = math.nan

curves = st.lists(st.floats(0, 1) | st.just(NAN), max_size=12).map(
    lambda values: Curve(val_accuracy=tuple(values), train_loss=tuple(values))
)
times = st.lists(st.none() | st.integers(1, 8), min_size=1, max_size=15)


def accuracies(*values: float) -> Curve:
    return Curve(val_accuracy=values)


@pytest.mark.parametrize(
    ("curve", "first", "sustained", "near"),
    [
        (accuracies(), None, None, None),
        (accuracies(0.9), 1, None, 1),
        (accuracies(0.8, 0.9), 2, None, 2),
        (accuracies(0.9, 0.9, 0.9), 1, 1, 1),
        (accuracies(0.9, 0.8, 0.9, 0.95, 0.9, 0.8), 1, 3, 4),
        (accuracies(0.5, 0.6, 0.5), None, None, 2),
        (accuracies(NAN, 0.9, NAN, 0.9, 0.9, 0.9), 2, 4, 2),
        (accuracies(NAN, NAN, NAN), None, None, None),
        (accuracies(0.949, 0.9489, 0.95), 1, 1, 1),  # 0.95 - 0.001 > 0.949 in floating point
        (accuracies(0.9489, 0.949, 0.95), 1, 1, 2),
    ],
)
def test_accuracy_definitions_by_hand(curve: Curve, first: int | None, sustained: int | None, near: int | None) -> None:
    assert first_reach(curve, 0.9) == first
    assert sustained_reach(curve, 0.9) == sustained
    assert near_best(curve) == near


@pytest.mark.parametrize(
    ("losses", "expected"),
    [((), None), ((0.5, 0.3, 0.4), 2), ((0.5, 0.4), None), ((NAN, 0.1), 2), ((math.inf, NAN), None)],
)
def test_loss_definition_by_hand(losses: tuple[float, ...], expected: int | None) -> None:
    assert loss_reach(Curve(train_loss=losses), 0.3) == expected


@given(curves, st.floats(0, 1))
def test_definitions_find_the_first_epoch_that_satisfies_them(curve: Curve, target: float) -> None:
    def check(epoch: int | None, values: tuple[float, ...], hit) -> None:
        before = values if epoch is None else values[: epoch - 1]
        assert not any(hit(value) for value in before)
        assert epoch is None or hit(values[epoch - 1])

    check(first_reach(curve, target), curve.val_accuracy, lambda value: value >= target)
    check(loss_reach(curve, target), curve.train_loss, lambda value: value <= target)
    sustained = sustained_reach(curve, target)
    if sustained is not None:
        held = curve.val_accuracy[sustained - 1 : sustained + 2]
        assert len(held) == 3 and min(held) >= target
        assert sustained >= (first_reach(curve, target) or math.inf)


def test_near_best_penalises_better_methods() -> None:
    worse, better = accuracies(0.90, 0.90, 0.90), accuracies(0.92, 0.94, 0.96)
    assert (near_best(worse), near_best(better)) == (1, 3)
    statement = next(definition.statement for definition in DEFINITIONS if definition.name == "epochs to near best")
    assert "penalises better methods" in statement


@pytest.mark.parametrize(
    ("epochs", "median"),
    [
        ([], None),
        ([None], None),
        ([3], 3),
        ([2, 2, 2], 2),
        ([None, None, None], None),
        ([1, 2, 3], 2),
        ([1, 2, 3, 4], 2),  # S(2) = 1/2
        ([4, 3, None, None], 4),
        ([4, None, None], None),
        ([8, 8, None], 8),  # reaching the target in the last epoch is not censoring
        ([1, 2, 3, 4, 5, *[None] * 5], 5),
    ],
)
def test_median_by_hand(epochs: list[int | None], median: float | None) -> None:
    assert kaplan_meier_median(epochs, budget=8) == median


@given(times)
def test_median_agrees_with_statsmodels(epochs: list[int | None]) -> None:
    reached = [epoch is not None for epoch in epochs]
    found = kaplan_meier_median(epochs, budget=8)
    assert (found is None) == (sum(reached) < len(epochs) / 2)
    if any(reached):
        # statsmodels requires S(t) < 1 - p; with p slightly below 1/2 this is S(t) <= 1/2.
        expected = SurvfuncRight([epoch or 8 for epoch in epochs], reached).quantile(0.5 - 1e-6)
        assert found == expected or (found is None and math.isnan(expected))


@given(times, times)
def test_log_rank_agrees_with_statsmodels(epochs: list[int | None], against: list[int | None]) -> None:
    both = epochs + against
    found = log_rank(epochs, against, budget=8)
    assert found == pytest.approx(log_rank(against, epochs, budget=8), abs=1e-9)
    events = [epoch for epoch in both if epoch is not None]
    if not events or (len(set(events)) == 1 and len(events) == len(both)):
        assert found == 1
        return
    group = [0] * len(epochs) + [1] * len(against)
    try:
        _, expected = survdiff([epoch or 8 for epoch in both], [epoch is not None for epoch in both], group)
    except RuntimeWarning:  # the variance is 0
        assert found == 1
    else:
        assert found == pytest.approx(expected, abs=1e-9)


def test_log_rank_by_hand() -> None:
    # Epochs 1 | 2. At 1: O = 1 in the first, E = 1/2, V = 1/4. At 2: one at risk, O = E = 0. Z = 1/2 / 1/2 = 1.
    assert log_rank([1], [2], budget=4) == pytest.approx(math.erfc(1 / math.sqrt(2)))


@pytest.mark.parametrize("alike", [[None, None], [3], [3, 3, 3]])
def test_log_rank_without_variance(alike: list[int | None]) -> None:
    assert log_rank(alike, alike, budget=8) == 1


def test_log_rank_of_no_runs() -> None:
    assert math.isnan(log_rank([], [1], budget=8))


def row(results: Results, arm: str, definition: str) -> Convergence:
    return next(found for found in convergence(results) if (found.arm, found.definition) == (arm, definition))


def test_every_arm_has_every_definition_in_order() -> None:
    results = make_results()
    found = [(entry.definition, entry.arm) for entry in convergence(results)]
    assert found == [(rule.name, arm.name) for rule in DEFINITIONS for arm in results.study.arms]
    for entry in convergence(results):
        assert (entry.log_rank_p is None) == (entry.arm == "SGD" or entry.definition == "budget to target")
        assert entry.runs == 10


def test_a_diverged_run_is_censored_whatever_it_reached() -> None:
    results = make_results(diverged={"Adam": range(10)}, task=make_task(target_accuracy=0.3, target_loss=1.5))
    reached = results.final["Adam", 4][0]
    assert reached.outcome == "diverged" and first_reach(reached.curve, 0.3) is not None
    for definition in (
        "epochs to target",
        "epochs to sustained target",
        "epochs to near best",
        "epochs to target loss",
    ):
        found = row(results, "Adam", definition)
        assert (found.epochs, found.reached, found.runs) == (None, 0, 10)
        assert found.log_rank_p is not None and found.log_rank_p < 0.001
    assert row(results, "SGD", "epochs to target").reached == 10


def test_curves_of_the_headline_budget_are_read() -> None:
    results = make_results(seeds=1, task=make_task(target_accuracy=0.9))
    longest = make_record(make_trial(epochs=4), curve=accuracies(0.1, 0.2, 0.95, 0.96))
    results = replace(results, final={**results.final, ("Adam", 4): [longest]})
    assert row(results, "Adam", "epochs to target").epochs == 3


def budgets_ending_on(*accuracies: list[float | None]) -> Results:
    """Return results in which Adam's runs at budgets 1, 2, ... have these final accuracies; None means diverged."""
    results = make_results(budgets=range(1, len(accuracies) + 1), task=make_task(target_accuracy=0.9))
    final = {
        ("Adam", budget): [
            make_record(make_trial(epochs=budget, seed=seed), diverged=accuracy is None, val_accuracy=accuracy)
            for seed, accuracy in enumerate(ends)
        ]
        for budget, ends in enumerate(accuracies, start=1)
    }
    return replace(results, final={**results.final, **final})


@pytest.mark.parametrize(
    ("ends", "epochs", "reached"),
    [
        (([0.8, 0.9], [0.88, 0.92], [0.95, 0.95]), 2, 1),
        (([0.95], [0.8], [0.8]), 1, 1),  # the smallest, although a larger budget misses the target
        (([0.8, 0.8], [0.8, 0.91]), None, 1),
        # (8.91 + 0.1) / 10: the diverged run counts as chance, not as 0, and is not dropped.
        (([0.99] * 9 + [None],), 1, 9),
        # (8.82 + 0.1) / 10: without the diverged run the mean would reach the target.
        (([0.98] * 9 + [None],), None, 9),
        (([None, None],), None, 0),
    ],
)
def test_smallest_budget_by_hand(ends: tuple[list[float | None], ...], epochs: float | None, reached: int) -> None:
    found = smallest_budget(budgets_ending_on(*ends), "Adam")
    assert (found.epochs, found.reached, found.log_rank_p) == (epochs, reached, None)


def test_runs_that_all_end_on_the_target_have_a_mean_on_it() -> None:
    assert fmean([0.94] * 10) < 0.94  # by a rounding error
    results = replace(budgets_ending_on([0.94] * 10), task=make_task(target_accuracy=0.94))
    assert smallest_budget(results, "Adam").epochs == 1


def test_smallest_budget_reads_the_validation_split() -> None:
    results = budgets_ending_on([0.8])
    better_on_test = make_record(make_trial(epochs=1), val_accuracy=0.8, test_accuracy=0.99)
    results = replace(results, final={**results.final, ("Adam", 1): [better_on_test]})
    assert smallest_budget(results, "Adam").epochs is None
