"""The stages of a study: tune unclipped arms, compute thresholds from their norms, tune clipped arms, final runs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

import numpy as np

from steadystep.lab.errors import UserError
from steadystep.lab.study.records import Cell, Results
from steadystep.lab.study.spec import Arm, Study
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.record import QUANTILES, Record
from steadystep.lab.training.trial import Clip, Trial

FIRST_TUNING_SEED = 1000
"""Tuning uses the seeds from here up and final runs those from 0 up, so no final run uses a tuning seed."""

Setting = Sequence[Trial]
"""The trials of one tuning setting, one for each seed."""

RunStage = Callable[[str, Sequence[Trial]], Mapping[str, Record]]
"""A function of a stage's name and its trials that returns their records by id."""

Planned = Callable[[Cell, Sequence[Trial]], None]
"""A function that is told which trials a stage has for an arm at a budget, before the stage is run."""


def _ignore(cell: Cell, trials: Sequence[Trial]) -> None:
    pass


@dataclass(frozen=True)
class Tuning:
    """The tuning records of every arm at every budget, and the first trial of the chosen setting."""

    records: Mapping[Cell, Sequence[Record]]
    chosen: Mapping[Cell, Trial]


def run_stages(study: Study, task: Task, data: str, run_stage: RunStage, planned: Planned = _ignore) -> Results:
    """Run all stages of a study; each stage depends on the records of the previous one.

    The stages are the two of `tune`, and then final runs of every arm at its best setting on the paired seeds. `data`
    is the fingerprint of the data.
    """
    plan = _TrialPlan(study, task, data)
    tuning = tune(study, task, data, run_stage, planned)
    cells = [(arm, budget) for arm in study.arms for budget in study.budgets]
    runs = {(arm.name, budget): plan.final(arm, budget, tuning.chosen[arm.name, budget]) for arm, budget in cells}
    for cell, trials in runs.items():
        planned(cell, trials)
    records = run_stage("final runs", [trial for trials in runs.values() for trial in trials])
    final = {cell: [records[trial.id] for trial in trials] for cell, trials in runs.items()}
    return Results(study=study, task=task, chosen=tuning.chosen, tuning=tuning.records, final=final)


def tune(study: Study, task: Task, data: str, run_stage: RunStage, planned: Planned = _ignore) -> Tuning:
    """Tune the unclipped arms, and then the clipped ones at thresholds computed from their twins' gradient norms."""
    plan = _TrialPlan(study, task, data)
    tuning: dict[Cell, Sequence[Record]] = {}
    chosen: dict[Cell, Trial] = {}
    for stage, arms in (
        ("tuning", [arm for arm in study.arms if not arm.clip]),
        ("tuning clipped", [arm for arm in study.arms if arm.clip]),
    ):
        settings = {
            (arm.name, budget): plan.settings(arm, budget, chosen, tuning)
            for arm, budget in product(arms, study.budgets)
        }
        for cell, tried in settings.items():
            planned(cell, [trial for setting in tried for trial in setting])
        trials = [trial for tried in settings.values() for setting in tried for trial in setting]
        records = run_stage(stage, trials) if trials else {}
        for cell, tried in settings.items():
            tuning[cell] = [records[trial.id] for setting in tried for trial in setting]
            chosen[cell] = best_setting([[records[trial.id] for trial in setting] for setting in tried])
    return Tuning(tuning, chosen)


def final_trials(study: Study, task: Task, data: str, arm: Arm, best: Trial) -> list[Trial]:
    """Return the final trials of an arm at the largest budget with the setting of `best`, one for each paired seed."""
    return _TrialPlan(study, task, data).final(arm, study.epochs, best)


def best_setting(settings: Sequence[Sequence[Record]]) -> Trial:
    """Return the first trial of the setting with the highest mean validation accuracy over its tuning seeds.

    A setting that diverged on any seed has accuracy 0. Ties are broken by the lower mean validation loss, and then by
    the declared order.
    """

    def merit(records: Sequence[Record]) -> tuple[float, float]:
        accuracies = [record.val_accuracy for record in records if record.val_accuracy is not None]
        losses = [record.val_loss for record in records if record.val_loss is not None]
        if len(accuracies) < len(records):
            return 0.0, -math.inf
        loss = fmean(losses)
        return fmean(accuracies), -loss if math.isfinite(loss) else -math.inf

    return max(settings, key=merit)[0].trial


def threshold(quantile: float, records: Sequence[Record]) -> float | None:
    """Return this quantile of the gradient norms before clipping, averaged over runs; None if no run took a step.

    The threshold is rounded to 4 significant digits, so that it is readable. It is part of the identity of its trials.
    """
    levels = [np.interp(quantile, QUANTILES, r.norm_quantiles) for r in records if r.norm_quantiles]
    if not levels:
        return None
    # Norms can underflow to 0 when a network fits its data perfectly, and a threshold cannot be 0.
    return max(float(f"{np.mean(levels):.4g}"), 1e-12)


class _TrialPlan:
    """Makes the trials of a study from its declaration and the tuning results so far."""

    def __init__(self, study: Study, task: Task, data: str) -> None:
        self._study, self._task, self._data = study, task, data

    def settings(
        self, arm: Arm, budget: int, chosen: Mapping[Cell, Trial], tuning: Mapping[Cell, Sequence[Record]]
    ) -> list[Setting]:
        """Return all tuning settings of the arm at this budget."""
        clips = self._clips(arm, budget, chosen, tuning) if arm.clip else [None]
        seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + self._study.tune_seeds)
        tried = product(arm.lrs, clips)
        epochs = min(budget, self._study.tune_epochs or budget)
        return [[self._trial(arm, epochs, lr, clip, seed, "tune") for seed in seeds] for lr, clip in tried]

    def final(self, arm: Arm, budget: int, best: Trial) -> list[Trial]:
        """Return the final trials of the arm with the setting of `best`, one for each paired seed."""
        seeds = range(self._study.seeds)
        return [self._trial(arm, budget, best.lr, best.clip, seed, "final") for seed in seeds]

    def _clips(
        self, arm: Arm, budget: int, chosen: Mapping[Cell, Trial], tuning: Mapping[Cell, Sequence[Record]]
    ) -> list[Clip]:
        assert arm.clip
        if arm.thresholds:
            return [Clip(kind=arm.clip, threshold=value) for value in arm.thresholds]
        twin = self._study.twin(arm)
        assert twin  # checked when the study was validated
        cell = (twin.name, budget)
        runs = [record for record in tuning[cell] if record.trial.lr == chosen[cell].lr]
        thresholds = [threshold(quantile, runs) for quantile in arm.quantiles]
        clips = [Clip(kind=arm.clip, threshold=value) for value in thresholds if value is not None]
        if not clips:
            raise UserError(
                f"arm {arm.name!r} takes its thresholds from {twin.name!r}, whose runs of {budget} epochs all diverged "
                f"at the first step with the learning rates {twin.lrs}: declare smaller ones"
            )
        return clips

    def _trial(self, arm: Arm, budget: int, lr: float, clip: Clip | None, seed: int, role: str) -> Trial:
        return Trial.model_validate(
            {
                "task": self._task.name,
                "task_version": self._task.version,
                "data": self._data,
                "optimizer": arm.optimizer,
                "options": arm.options,
                "lr": lr,
                "clip": clip,
                "schedule": self._study.schedule,
                "epochs": budget,
                "batch_size": self._study.batch_size,
                "seed": seed,
                "dtype": self._study.dtype,
                "role": role,
            }
        )
