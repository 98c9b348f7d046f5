"""Which trials a study is made of: tuning, thresholds from its norms, tuning again, final runs."""

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
"""Final runs use the seeds from 0 up: no run is judged on a seed that it was tuned on."""

Setting = Sequence[Trial]
"""The trials of one tried setting, one for each seed."""

Obtain = Callable[[str, Sequence[Trial]], Mapping[str, Record]]
"""From a stage's name and its trials to their records by id."""


@dataclass(frozen=True)
class Tuning:
    """What every arm's tuning measured at every budget, and the first trial of the setting that it chose."""

    records: Mapping[Cell, Sequence[Record]]
    chosen: Mapping[Cell, Trial]


def carry_out(study: Study, task: Task, data: str, obtain: Obtain) -> Results:
    """All stages of a study, each made of what the one before measured. `data` is the data's fingerprint.

    Stages: the two of `tune`; then every arm at its best setting on the paired seeds.
    """
    plan = _Plan(study, task, data)
    tuning = tune(study, task, data, obtain)
    cells = [(arm, budget) for arm in study.arms for budget in study.budgets]
    runs = {(arm.name, budget): plan.final(arm, budget, tuning.chosen[arm.name, budget]) for arm, budget in cells}
    records = obtain("final runs", [trial for trials in runs.values() for trial in trials])
    final = {cell: [records[trial.id] for trial in trials] for cell, trials in runs.items()}
    return Results(study=study, task=task, chosen=tuning.chosen, tuning=tuning.records, final=final)


def tune(study: Study, task: Task, data: str, obtain: Obtain) -> Tuning:
    """Tune the unclipped arms; then the clipped ones, at thresholds from their twins' norms."""
    plan = _Plan(study, task, data)
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
        trials = [trial for tried in settings.values() for setting in tried for trial in setting]
        records = obtain(stage, trials) if trials else {}
        for cell, tried in settings.items():
            tuning[cell] = [records[trial.id] for setting in tried for trial in setting]
            chosen[cell] = best_setting([[records[trial.id] for trial in setting] for setting in tried])
    return Tuning(tuning, chosen)


def final_trials(study: Study, task: Task, data: str, arm: Arm, best: Trial) -> list[Trial]:
    """The runs of an arm at the largest budget with the setting of `best`, one for each paired seed."""
    return _Plan(study, task, data).final(arm, study.epochs, best)


def best_setting(settings: Sequence[Sequence[Record]]) -> Trial:
    """The first trial of the best setting: highest mean validation accuracy over its tuning seeds.

    A setting that diverged on any seed has accuracy 0. Of equals the lower mean validation loss wins, then the
    earlier in the declared order.
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
    """That quantile of the gradient norms before clipping, the mean over these runs; None where none took a step.

    Rounded to 4 significant digits, so that it reads well and names its trials.
    """
    levels = [np.interp(quantile, QUANTILES, r.norm_quantiles) for r in records if r.norm_quantiles]
    if not levels:
        return None
    # Norms can underflow to 0 when a network fits its data perfectly, and a threshold cannot be 0.
    return max(float(f"{np.mean(levels):.4g}"), 1e-12)


class _Plan:
    """A study's trials, from its declaration and what is known so far."""

    def __init__(self, study: Study, task: Task, data: str) -> None:
        self._study, self._task, self._data = study, task, data

    def settings(
        self, arm: Arm, budget: int, chosen: Mapping[Cell, Trial], tuning: Mapping[Cell, Sequence[Record]]
    ) -> list[Setting]:
        """Everything that the arm's tuning tries at this budget."""
        clips = self._clips(arm, budget, chosen, tuning) if arm.clip else [None]
        seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + self._study.tune_seeds)
        tried = product(arm.lrs, clips)
        epochs = min(budget, self._study.tune_epochs or budget)
        return [[self._trial(arm, epochs, lr, clip, seed, "tune") for seed in seeds] for lr, clip in tried]

    def final(self, arm: Arm, budget: int, best: Trial) -> list[Trial]:
        seeds = range(self._study.seeds)
        return [self._trial(arm, budget, best.lr, best.clip, seed, "final") for seed in seeds]

    def _clips(
        self, arm: Arm, budget: int, chosen: Mapping[Cell, Trial], tuning: Mapping[Cell, Sequence[Record]]
    ) -> list[Clip]:
        assert arm.clip
        if arm.thresholds:
            return [Clip(kind=arm.clip, threshold=value) for value in arm.thresholds]
        twin = self._study.twin(arm)
        assert twin  # the declaration was validated
        cell = (twin.name, budget)
        runs = [record for record in tuning[cell] if record.trial.lr == chosen[cell].lr]
        thresholds = [threshold(quantile, runs) for quantile in arm.quantiles]
        clips = [Clip(kind=arm.clip, threshold=value) for value in thresholds if value is not None]
        if not clips:
            raise UserError(
                f"arm {arm.name!r} takes its thresholds from {twin.name!r}, whose runs of {budget} epochs all diverged "
                f"at the first step with learning rates {twin.lrs}: declare smaller ones"
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
