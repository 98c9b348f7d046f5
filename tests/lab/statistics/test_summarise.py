"""The summary of a study."""

import math
from dataclasses import replace
from statistics import fmean

import pytest

from lab_factory import ARMS, make_record, make_results, make_trial
from steadystep.lab.statistics.summarise import summarise, summarise_arm
from steadystep.lab.statistics.summary import ArmSummary
from steadystep.lab.study.records import Results
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Clip


def arm_of(results: Results, name: str, budget: int) -> ArmSummary:
    arm = next(arm for arm in results.study.arms if arm.name == name)
    return summarise_arm(results, arm, budget)


def with_runs(results: Results, runs: list[Record]) -> Results:
    return replace(results, final={**results.final, ("Adam", 4): runs})


def test_every_arm_at_every_budget() -> None:
    found = summarise(make_results())
    assert [(row.budget, row.arm) for row in found.arms] == [(b, arm.name) for b in (1, 2, 4) for arm in ARMS]
    assert len(found.convergence) == 15
    assert len(found.verdicts) == 3


def test_the_same_results_give_the_same_summary() -> None:
    assert summarise(make_results()) == summarise(make_results())


def test_one_arm_by_hand() -> None:
    runs = [
        make_record(make_trial(seed=0), accuracy=0.9, clip_rate=0.1),
        make_record(make_trial(seed=1), accuracy=0.95, clip_rate=0.3),
        make_record(make_trial(seed=2), accuracy=0.9, diverged=True, clip_rate=0.8),
    ]
    results = with_runs(make_results(), runs)
    found = arm_of(results, "Adam", 4)
    assert (found.runs, found.diverged) == (3, 1)
    assert found.divergence_rate.mean == pytest.approx(1 / 3)
    assert 0 < found.divergence_rate.low < 1 / 3 < found.divergence_rate.high < 1
    assert found.test_accuracy.mean == found.val_accuracy.mean == pytest.approx(0.925)  # finished runs only
    # Two finished runs are too few for an interval.
    assert math.isnan(found.test_accuracy.high) and math.isnan(found.test_accuracy_bootstrap.low)
    assert found.test_accuracy_bootstrap.mean == found.test_accuracy_iqm.mean == pytest.approx(0.925)
    assert found.clip_rate == pytest.approx(0.4)
    assert found.norm_median == pytest.approx(1)
    assert (found.steps, found.flops) == (runs[0].steps, runs[0].flops)
    assert found.seconds == pytest.approx(runs[0].times.wall_seconds)  # not shortened by the diverged run
    assert (found.step_ms, found.optimizer_ms) == pytest.approx((1.2, 0.2))
    assert (found.tuning_runs, found.tuning_diverged) == (12, 2)


def test_chosen_settings() -> None:
    results = make_results()
    adam, clipped = arm_of(results, "Adam", 4), arm_of(results, "Adam + clip", 4)
    assert (adam.lr, adam.threshold, adam.edge) == (results.chosen["Adam", 4].lr, None, False)
    assert clipped.threshold is not None and clipped.clip_rate > 0


@pytest.mark.parametrize(("lr", "edge"), [(1e-4, True), (3e-4, False), (1e-2, False), (3e-2, True)])
def test_edge_of_the_search(lr: float, edge: bool) -> None:
    results = make_results()
    chosen = {**results.chosen, ("Adam", 4): make_trial(lr=lr, role="tune", seed=1000)}
    assert arm_of(replace(results, chosen=chosen), "Adam", 4).edge is edge


def test_threshold_is_that_of_the_chosen_trial() -> None:
    results = make_results()
    trial = make_trial(clip=Clip(kind="norm", threshold=0.25), role="tune", seed=1000)
    found = arm_of(replace(results, chosen={**results.chosen, ("Adam + clip", 4): trial}), "Adam + clip", 4)
    assert found.threshold == 0.25


def test_an_arm_all_of_whose_runs_diverged() -> None:
    found = summarise(make_results(diverged={"Adam": range(10)}))
    row = next(row for row in found.arms if (row.arm, row.budget) == ("Adam", 4))
    assert (row.runs, row.diverged, row.divergence_rate.mean, row.divergence_rate.high) == (10, 10, 1, 1)
    for estimate in (row.test_accuracy, row.test_accuracy_bootstrap, row.test_accuracy_iqm, row.val_accuracy):
        assert all(math.isnan(number) for number in vars(estimate).values())
    assert row.steps > 0 and row.seconds > 0
    assert [entry.epochs for entry in found.convergence if entry.arm == "Adam"] == [None] * 5
    verdict = next(v for v in found.verdicts if (v.arm, v.against) == ("Adam", "SGD"))
    assert (verdict.verdict, verdict.pairs) == ("worse", 10)


def test_a_study_all_of_whose_runs_diverged() -> None:
    found = summarise(make_results(diverged={arm.name: range(10) for arm in ARMS}))
    assert {v.verdict for v in found.verdicts} == {"undecided"}
    assert {entry.epochs for entry in found.convergence} == {None}


def test_a_run_that_diverged_at_its_first_step() -> None:
    nothing = make_record(
        make_trial(epochs=4),
        diverged=True,
        steps=0,
        curve={},
        norm_quantiles=(),
        clip_rate=math.nan,
        times={"wall_seconds": 0.01, "step_ms": math.nan, "optimizer_ms": math.nan},
    )
    found = arm_of(with_runs(make_results(), [nothing]), "Adam", 4)
    assert (found.steps, found.seconds) == (0, 0.01)
    for number in (found.clip_rate, found.norm_median, found.step_ms, found.optimizer_ms):
        assert math.isnan(number)


def test_one_seed_has_means_and_no_intervals() -> None:
    found = summarise(make_results(seeds=1))
    for row in found.arms:
        assert 0 < row.test_accuracy.mean < 1
        assert math.isnan(row.test_accuracy.low) and math.isnan(row.test_accuracy_bootstrap.high)
    assert {v.verdict for v in found.verdicts} == {"undecided"}


def test_made_up_records_are_like_recorded_ones() -> None:
    results = make_results(diverged={"SGD": [0]})
    for (arm, budget), runs in results.final.items():
        assert [run.trial.seed for run in runs] == list(range(10))
        for run in runs:
            assert Record.model_validate_json(run.model_dump_json()) == run
            assert run.trial.epochs == budget
            assert (run.test_accuracy is None) == (run.outcome == "diverged") == (arm == "SGD" and run is runs[0])
            if run.outcome == "finished":
                assert len(run.curve.val_accuracy) == budget
                assert run.curve.val_accuracy[-1] == run.val_accuracy
    for cell, runs in results.tuning.items():
        assert all(run.test_accuracy is None and run.trial.seed >= 1000 for run in runs)
        best = [run.val_accuracy or 0 for run in runs if run.trial.lr == results.chosen[cell].lr]
        assert fmean(best) >= 0.8
    assert len({run.trial.id for runs in results.final.values() for run in runs}) == 90
