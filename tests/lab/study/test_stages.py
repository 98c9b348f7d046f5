"""The trials of a study's stages, and how settings are chosen."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pytest

from lab_factory import make_record, make_trial
from steadystep.lab.errors import UserError
from steadystep.lab.study.stages import FIRST_TUNING_SEED, best_setting, run_stages, threshold
from steadystep.lab.training.record import QUANTILES, Record
from steadystep.lab.training.trial import Trial
from tiny_study import FINGERPRINT, STUDY, TASK, TRIALS_IN_ALL


class RecordingRunner:
    """A runner that returns made-up records and keeps a list of the requested trials by stage."""

    def __init__(self, **fields: Any) -> None:
        self.stages: dict[str, list[Trial]] = {}
        self._fields = fields

    def __call__(self, stage: str, trials: Sequence[Trial]) -> Mapping[str, Record]:
        self.stages[stage] = list(trials)
        return {trial.id: self.record(trial) for trial in trials}

    def record(self, trial: Trial) -> Record:
        norms: dict[str, Any] = {"norm_quantiles": tuple(trial.lr * (1 + level) for level in QUANTILES)}
        return make_record(trial, accuracy=0.9 + trial.lr / 5, **norms | self._fields)


def test_every_stage_depends_on_the_records_of_the_one_before() -> None:
    runner = RecordingRunner()
    results = run_stages(STUDY, TASK, FINGERPRINT, runner)
    assert list(runner.stages) == ["tuning", "tuning clipped", "final runs"]
    assert sum(map(len, runner.stages.values())) == TRIALS_IN_ALL
    assert not any(trial.clip for trial in runner.stages["tuning"])
    assert {trial.role for trial in runner.stages["final runs"]} == {"final"}
    # Twin's best learning rate is 0.03: its norms are 0.03 (1 + level).
    assert {str(trial.clip) for trial in runner.stages["tuning clipped"]} == {"norm 0.033", "norm 0.057"}
    cells = set(product(("SGD", "Adam", "Adam + clip"), (1, 2)))
    assert set(results.chosen) == set(results.tuning) == set(results.final) == cells
    for cell in cells:
        assert [record.trial.seed for record in results.final[cell]] == [0, 1]
        for record in results.final[cell]:
            assert (record.trial.lr, record.trial.clip) == (results.chosen[cell].lr, results.chosen[cell].clip)
            assert record.trial.epochs == cell[1]


def test_no_final_run_uses_a_tuning_seed() -> None:
    study = STUDY.model_copy(update={"tune_seeds": 3})
    runner = RecordingRunner()
    run_stages(study, TASK, FINGERPRINT, runner)
    tuned = {trial.seed for stage in ("tuning", "tuning clipped") for trial in runner.stages[stage]}
    assert tuned == {FIRST_TUNING_SEED, FIRST_TUNING_SEED + 1, FIRST_TUNING_SEED + 2}
    assert {trial.seed for trial in runner.stages["final runs"]} == {0, 1}


def test_every_arm_tries_equally_many_settings() -> None:
    results = run_stages(STUDY, TASK, FINGERPRINT, RecordingRunner())
    assert {len(records) for records in results.tuning.values()} == {2}


def test_a_study_without_clipped_arms_has_no_stage_for_them() -> None:
    runner = RecordingRunner()
    run_stages(STUDY.model_copy(update={"arms": STUDY.arms[:1]}), TASK, FINGERPRINT, runner)
    assert list(runner.stages) == ["tuning", "final runs"]


def test_the_best_setting_has_the_highest_mean_accuracy() -> None:
    settings = [
        [make_record(make_trial(lr=0.1), accuracy=0.99), make_record(make_trial(lr=0.1), accuracy=0.90)],
        [make_record(make_trial(lr=0.2), accuracy=0.95), make_record(make_trial(lr=0.2), accuracy=0.96)],
    ]
    assert best_setting(settings).lr == 0.2


def test_a_setting_that_diverged_once_loses_to_one_that_never_did() -> None:
    settings = [
        [make_record(make_trial(lr=0.1), accuracy=0.99), make_record(make_trial(lr=0.1), diverged=True)],
        [make_record(make_trial(lr=0.2), accuracy=0.5), make_record(make_trial(lr=0.2), accuracy=0.5)],
    ]
    assert best_setting(settings).lr == 0.2


def test_ties_go_to_the_lower_loss_and_then_to_the_first() -> None:
    losses = {0.1: 0.3, 0.2: 0.2, 0.3: math.nan, 0.4: 0.2}
    settings = [[make_record(make_trial(lr=lr), val_accuracy=0.9, val_loss=loss)] for lr, loss in losses.items()]
    assert best_setting(settings).lr == 0.2
    diverged = [[make_record(make_trial(lr=lr), diverged=True)] for lr in losses]
    assert best_setting(diverged).lr == 0.1


def test_a_threshold_is_the_mean_quantile_to_four_digits() -> None:
    levels = dict.fromkeys(QUANTILES, 1.0)
    first = make_record(norm_quantiles=tuple((levels | {0.9: 1.234567}).values()))
    second = make_record(norm_quantiles=tuple((levels | {0.9: 2.0}).values()))
    assert threshold(0.9, [first, second]) == 1.617
    assert threshold(0.825, [second]) == 1.5, "levels between the recorded ones are interpolated"


def test_a_threshold_without_any_norm() -> None:
    unmeasured = make_record(norm_quantiles=())
    assert threshold(0.5, [unmeasured]) is None
    assert threshold(0.5, [unmeasured, make_record(norm_quantiles=(2.0,) * 9)]) == 2
    assert threshold(0.5, [make_record(norm_quantiles=(0.0,) * 9)]) == 1e-12


def test_a_clipped_arm_whose_twin_never_took_a_step_raises_a_one_line_error() -> None:
    with pytest.raises(UserError, match=r"arm 'Adam \+ clip' takes its thresholds from 'Adam'"):
        run_stages(STUDY, TASK, FINGERPRINT, RecordingRunner(norm_quantiles=()))
