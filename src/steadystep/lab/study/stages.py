"""The stages of a study: tune unclipped arms, compute thresholds from their norms, tune clipped arms, final runs."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

import numpy as np

from steadystep.lab.errors import UserError
from steadystep.lab.study.records import Cell, Results
from steadystep.lab.study.search import further_rates, is_at_edge
from steadystep.lab.study.spec import FIRST_TUNING_SEED, Arm, Study
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.record import QUANTILES, Record
from steadystep.lab.training.trial import Clip, Trial

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


def run_stages(
    study: Study,
    task: Task,
    data: str,
    run_stage: RunStage,
    undecided: Callable[[Results], Collection[str]],
    planned: Planned = _ignore,
) -> Results:
    """Run all stages of a study; each stage depends on the records of the previous one.

    The stages are the two of `tune`, and then final runs of every arm at its best setting on the paired seeds. If the
    study goes on until its pairs are decided, further seeds follow at the headline budget.

    Args:
        study: the study.
        task: its task.
        data: the fingerprint of the data.
        run_stage: runs the trials of a stage.
        undecided: returns the arms of undecided pairs.
        planned: is told of the trials of each arm.
    """
    plan = _TrialPlan(study, task, data)
    tuning = tune(study, task, data, run_stage, planned)
    final: dict[Cell, list[Record]] = {}
    cells = [(arm, budget) for arm in study.arms for budget in study.budgets]
    first = 0
    for last in study.looks:
        runs = {
            (arm.name, budget): plan.final(arm, budget, tuning.chosen[arm.name, budget], range(first, last))
            for arm, budget in cells
        }
        for cell, trials in runs.items():
            planned(cell, trials)
        name = "final runs"
        if first:
            name += f", seeds {study.first_seed + first} to {study.first_seed + last - 1}"
        records = run_stage(name, [trial for trials in runs.values() for trial in trials])
        for cell, trials in runs.items():
            final.setdefault(cell, []).extend(records[trial.id] for trial in trials)
        results = Results(study=study, task=task, chosen=tuning.chosen, tuning=tuning.records, final=final)
        if last == study.looks[-1] or not (going_on := undecided(results)):
            return results
        cells, first = [(arm, study.epochs) for arm in study.arms if arm.name in going_on], last
    raise AssertionError("a study has at least one look")


def tune(study: Study, task: Task, data: str, run_stage: RunStage, planned: Planned = _ignore) -> Tuning:
    """Tune the unclipped arms, and then the clipped ones at thresholds computed from their twins' gradient norms.

    If the study widens its search, and the best learning rate of an arm at a budget is the lowest or the highest that
    it tried, every arm tries the same number of further settings at this budget, until all lie inside or the study's
    number of rounds is reached. Thresholds stay those of the twin's best rate when the clipped arms begin.
    """
    search = _Search(study, _TrialPlan(study, task, data), run_stage, planned)
    unclipped, clipped = ([arm for arm in study.arms if bool(arm.clip) == with_clip] for with_clip in (False, True))
    search.begin("tuning", unclipped)
    search.widen("tuning, wider", unclipped)
    if clipped:
        search.begin("tuning clipped", clipped)
        search.widen("tuning clipped, wider", clipped)
        search.widen("tuning, wider", study.arms)
    tuning = {cell: [record for setting in tried for record in setting] for cell, tried in search.tried.items()}
    return Tuning(tuning, search.chosen)


class _Search:
    """The settings that the arms of a study have tried, by arm and budget."""

    def __init__(self, study: Study, plan: "_TrialPlan", run_stage: RunStage, planned: Planned) -> None:
        self._study, self._plan, self._run_stage, self._planned = study, plan, run_stage, planned
        self._rounds = dict.fromkeys(study.budgets, 0)  # that every arm is to have, beyond the declared settings
        self._had: Counter[Cell] = Counter()
        self._clips: dict[Cell, Sequence[Clip | None]] = {}
        self.tried: dict[Cell, list[Sequence[Record]]] = {}
        self.chosen: dict[Cell, Trial] = {}

    def begin(self, stage: str, arms: Sequence[Arm]) -> None:
        """Try the declared settings."""
        cells = list(product(arms, self._study.budgets))
        for arm, budget in cells:
            self._clips[arm.name, budget] = self._plan.clips(arm, budget, self.chosen, self.tried)
        self._try(stage, {(arm.name, budget): (arm, arm.lrs) for arm, budget in cells})

    def widen(self, stage: str, arms: Sequence[Arm]) -> None:
        """Try further settings until no arm's best one lies at an edge, or the study's rounds are used up."""
        while True:
            due = {
                (arm.name, budget): (arm, self._further(arm, budget))
                for arm, budget in product(arms, self._study.budgets)
                if self._had[arm.name, budget] < self._rounds[budget]
            }
            if due:
                self._had.update(due.keys())
                self._try(stage, due)
                continue
            short = [
                budget
                for budget in self._study.budgets
                if self._rounds[budget] < self._study.widen
                and any(is_at_edge(self._rates(arm, budget), self.chosen[arm.name, budget].lr) for arm in arms)
            ]
            if not short:
                return
            for budget in short:
                self._rounds[budget] += 1

    def _rates(self, arm: Arm, budget: int) -> list[float]:
        return sorted({setting[0].trial.lr for setting in self.tried[arm.name, budget]})

    def _further(self, arm: Arm, budget: int) -> list[float]:
        """Return the next learning rates: as many as make the same number of settings for every arm."""
        number = math.lcm(*map(_clips_of, self._study.arms)) // _clips_of(arm)
        return further_rates(self._rates(arm, budget), self.chosen[arm.name, budget].lr, number)

    def _try(self, stage: str, cells: Mapping[Cell, tuple[Arm, Sequence[float]]]) -> None:
        settings = {
            cell: self._plan.settings(arm, cell[1], rates, self._clips[cell]) for cell, (arm, rates) in cells.items()
        }
        for cell, tried in settings.items():
            self._planned(cell, [trial for setting in tried for trial in setting])
        trials = [trial for tried in settings.values() for setting in tried for trial in setting]
        records = self._run_stage(stage, trials) if trials else {}
        for cell, tried in settings.items():
            self.tried.setdefault(cell, []).extend([records[trial.id] for trial in setting] for setting in tried)
            self.chosen[cell] = best_setting(self.tried[cell])


def _clips_of(arm: Arm) -> int:
    """Return the number of settings that an arm tries for each learning rate."""
    return arm.configurations // len(arm.lrs)


def final_trials(study: Study, task: Task, data: str, arm: Arm, best: Trial) -> list[Trial]:
    """Return the final trials of an arm at the largest budget with the setting of `best`, one for each paired seed."""
    return _TrialPlan(study, task, data).final(arm, study.epochs, best, range(study.seeds))


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

    def settings(self, arm: Arm, budget: int, rates: Sequence[float], clips: Sequence[Clip | None]) -> list[Setting]:
        """Return the tuning settings of the arm at this budget with these learning rates."""
        seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + self._study.tune_seeds)
        epochs = min(budget, self._study.tune_epochs or budget)
        return [
            [self._trial(arm, epochs, lr, clip, seed, "tune") for seed in seeds] for lr, clip in product(rates, clips)
        ]

    def final(self, arm: Arm, budget: int, best: Trial, seeds: Iterable[int]) -> list[Trial]:
        """Return the final trials of the arm with the setting of `best`, for some of the paired seeds."""
        first = self._study.first_seed
        return [self._trial(arm, budget, best.lr, best.clip, first + seed, "final") for seed in seeds]

    def clips(
        self, arm: Arm, budget: int, chosen: Mapping[Cell, Trial], tried: Mapping[Cell, Sequence[Sequence[Record]]]
    ) -> Sequence[Clip | None]:
        """Return the clippers that an arm tries at a budget; those of an arm that does not clip are [None]."""
        if not arm.clip:
            return [None]
        if arm.thresholds:
            return [Clip(kind=arm.clip, threshold=value) for value in arm.thresholds]
        twin = self._study.twin(arm)
        assert twin  # checked when the study was validated
        cell = (twin.name, budget)
        runs = [record for setting in tried[cell] for record in setting if record.trial.lr == chosen[cell].lr]
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
