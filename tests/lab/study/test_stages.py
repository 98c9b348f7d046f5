"""The trials of a study's stages, and how settings are chosen."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lab_factory import make_record, make_trial
from steadystep.lab.errors import UserError
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.statistics.verdicts import undecided_arms, verdicts
from steadystep.lab.study.records import Results
from steadystep.lab.study.search import further_rates
from steadystep.lab.study.spec import FIRST_TUNING_SEED, Study, study_for
from steadystep.lab.study.stages import best_setting, run_stages, threshold
from steadystep.lab.study.until_decided import UntilDecided
from steadystep.lab.tasks import find_task
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
    results = run_stages(STUDY, TASK, FINGERPRINT, runner, undecided_arms)
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
    run_stages(study, TASK, FINGERPRINT, runner, undecided_arms)
    tuned = {trial.seed for stage in ("tuning", "tuning clipped") for trial in runner.stages[stage]}
    assert tuned == {FIRST_TUNING_SEED, FIRST_TUNING_SEED + 1, FIRST_TUNING_SEED + 2}
    assert {trial.seed for trial in runner.stages["final runs"]} == {0, 1}


def test_every_arm_tries_equally_many_settings() -> None:
    results = run_stages(STUDY, TASK, FINGERPRINT, RecordingRunner(), undecided_arms)
    assert {len(records) for records in results.tuning.values()} == {2}


def test_a_study_without_clipped_arms_has_no_stage_for_them() -> None:
    runner = RecordingRunner()
    run_stages(STUDY.model_copy(update={"arms": STUDY.arms[:1]}), TASK, FINGERPRINT, runner, undecided_arms)
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
        run_stages(STUDY, TASK, FINGERPRINT, RecordingRunner(norm_quantiles=()), undecided_arms)


class NoisyRunner(RecordingRunner):
    """A runner in whose runs SGD is clearly worse, and Adam with and without clipping are hard to tell apart."""

    def record(self, trial: Trial) -> Record:
        if trial.role == "tune":
            return super().record(trial)
        random = np.random.default_rng([trial.seed, trial.clip is not None, trial.optimizer == "SGD"])
        accuracy = 0.7 if trial.optimizer == "SGD" else 0.9
        return make_record(trial, accuracy=accuracy + 0.012 * random.standard_normal())


def test_arms_get_more_seeds_at_the_largest_budget_until_their_pairs_are_decided() -> None:
    fields = {"seeds": 4, "until_decided": UntilDecided(looks=(8, 16, 32))}
    study, runner = STUDY.model_copy(update=fields), NoisyRunner()
    results = run_stages(study, TASK, FINGERPRINT, runner, undecided_arms)
    later = [name for name in runner.stages if name.startswith("final runs, seeds")]
    assert (
        later == ["final runs, seeds 4 to 7", "final runs, seeds 8 to 15", "final runs, seeds 16 to 31"][: len(later)]
    )
    assert len(later) >= 2
    last = runner.stages[later[-1]]
    assert {trial.optimizer for trial in last} == {"Adam"} and {trial.epochs for trial in last} == {2}
    assert len(results.final["Adam", 2]) > len(results.final["SGD", 2]) >= 4
    assert len(results.final["Adam", 1]) == len(results.final["SGD", 1]) == 4
    found = {(v.arm, v.against): v for v in verdicts(results)}
    assert found["Adam", "SGD"].verdict == "better"
    assert found["Adam", "SGD"].seeds < found["Adam + clip", "Adam"].seeds
    seeds = [record.trial.seed for record in results.final["Adam", 2]]
    assert seeds == list(range(len(seeds)))


def test_a_study_whose_pairs_are_decided_at_once_gets_no_more_seeds() -> None:
    study = STUDY.model_copy(update={"seeds": 8, "until_decided": UntilDecided(looks=(16,)), "arms": STUDY.arms[:2]})
    runner = NoisyRunner()
    run_stages(study, TASK, FINGERPRINT, runner, undecided_arms)
    assert list(runner.stages) == ["tuning", "final runs"]


@pytest.mark.parametrize("looks", [(), (8, 8), (16, 8), (0, 8)])
def test_looks_must_rise(looks: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        UntilDecided(looks=looks)


def test_looks_come_after_the_first_seeds() -> None:
    with pytest.raises(ValidationError, match="more than 10 seeds"):
        Study.model_validate({**STUDY.model_dump(), "seeds": 10, "until_decided": {"looks": [10, 20]}})


def test_a_first_seed_moves_the_final_runs_and_not_the_tuning() -> None:
    runner = RecordingRunner()
    study = STUDY.model_copy(update={"first_seed": 100})
    run_stages(study, TASK, FINGERPRINT, runner, undecided_arms)
    seeds = {
        role: {trial.seed for trials in runner.stages.values() for trial in trials if trial.role == role}
        for role in ("tune", "final")
    }
    assert seeds == {"tune": {FIRST_TUNING_SEED}, "final": {100, 101}}
    with pytest.raises(ValidationError, match="the paired seeds 999 to 1000 contain seeds of tuning, 1000 to 1000"):
        Study.model_validate({**STUDY.model_dump(), "first_seed": 999})


def test_auto_is_the_default_of_a_task_that_declares_looks_and_the_option_of_every_other() -> None:
    digits, fixed = find_task("digits-mlp"), find_task("cifar10-cnn")
    assert study_for(digits) == study_for(digits, "auto") and study_for(digits).looks[0] == digits.seeds
    assert study_for(digits, 10).until_decided is None
    assert study_for(fixed).until_decided is None
    assert study_for(fixed, "auto").looks == tuple(fixed.seeds * factor for factor in (1, 2, 4, 8))


class PeakedRunner(RecordingRunner):
    """A runner whose accuracy is best at one learning rate for each optimizer."""

    def __init__(self, **peaks: float) -> None:
        super().__init__()
        self._peaks = peaks

    def record(self, trial: Trial) -> Record:
        away = abs(math.log(trial.lr / self._peaks[trial.optimizer]))
        norms: dict[str, Any] = {"norm_quantiles": tuple(1 + level for level in QUANTILES)}
        return make_record(trial, accuracy=0.9 - 0.02 * away, **norms)


def settings_of(results: Results, arm: str, budget: int) -> set[tuple[float, str]]:
    return {(record.trial.lr, str(record.trial.clip)) for record in results.tuning[arm, budget]}


@pytest.mark.parametrize("peak", [1e-5, 0.02, 5.0])
def test_the_search_is_widened_for_all_arms_until_the_best_rate_lies_inside(peak: float) -> None:
    runner = PeakedRunner(SGD=0.05, Adam=peak)
    results = run_stages(STUDY.model_copy(update={"widen": 20}), TASK, FINGERPRINT, runner, undecided_arms)
    for budget in STUDY.budgets:
        tried = {arm.name: settings_of(results, arm.name, budget) for arm in STUDY.arms}
        assert len(set(map(len, tried.values()))) == 1, "every arm tries as many settings"
        for arm in STUDY.arms:
            rates = sorted({lr for lr, _ in tried[arm.name]})
            assert rates[0] < results.chosen[arm.name, budget].lr < rates[-1]
            seeds = [record.trial.seed for record in results.tuning[arm.name, budget]]
            assert len(seeds) == len(tried[arm.name]) * STUDY.tune_seeds
    assert not any(row.edge for row in summarise(results).arms)


def test_a_search_without_a_best_rate_ends_after_the_rounds_of_the_study() -> None:
    runner = PeakedRunner(SGD=1e9, Adam=1e9)
    results = run_stages(STUDY.model_copy(update={"widen": 2}), TASK, FINGERPRINT, runner, undecided_arms)
    plain = run_stages(STUDY, TASK, FINGERPRINT, RecordingRunner(), undecided_arms)
    added = {
        arm.name: len(settings_of(results, arm.name, 2)) - len(settings_of(plain, arm.name, 2)) for arm in STUDY.arms
    }
    assert len(set(added.values())) == 1 and added["SGD"] == 4  # two rounds of two settings
    assert all(row.edge for row in summarise(results).arms)


def test_thresholds_stay_when_the_search_is_widened() -> None:
    runner = RecordingRunner()
    results = run_stages(STUDY.model_copy(update={"widen": 2}), TASK, FINGERPRINT, runner, undecided_arms)
    assert len({clip for _, clip in settings_of(results, "Adam + clip", 2)}) == 2


@given(
    st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=6, unique_by=lambda rate: f"{rate:.3g}"),
    st.integers(0, 5),
    st.integers(1, 4),
)
def test_further_rates_are_new_and_as_many_as_asked_for(rates: list[float], place: int, number: int) -> None:
    tried = sorted(float(f"{rate:.3g}") for rate in rates)
    best = tried[place % len(tried)]
    found = further_rates(tried, best, number)
    assert len(found) == len(set(found)) == number and not set(found) & set(tried)
    if best == tried[-1] and len(tried) > 1:
        assert min(found) > best
    if best == tried[0] and len(tried) > 1:
        assert max(found) < best
