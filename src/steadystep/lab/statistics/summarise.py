"""Compute the statistics of a study from its records."""

import math
from collections.abc import Iterable
from statistics import fmean, median

from steadystep.lab.statistics.convergence import convergence
from steadystep.lab.statistics.intervals import bootstrap_interval, interquartile_mean
from steadystep.lab.statistics.reported import accuracy_estimate, mean_estimate, share_estimate
from steadystep.lab.statistics.summary import ArmSummary, Summary
from steadystep.lab.statistics.verdicts import verdicts
from steadystep.lab.study.records import Results
from steadystep.lab.study.search import is_at_edge
from steadystep.lab.study.spec import Arm
from steadystep.lab.training.record import QUANTILES


def summarise(results: Results) -> Summary:
    """Return all statistics of a study; the same results give the same summary. Accuracies are fractions of 1.

    If all runs of an arm diverged, its accuracies are nan, its divergence rate is 1, and it has no time to convergence.
    """
    study = results.study
    return Summary(
        arms=tuple(summarise_arm(results, arm, budget) for budget in study.budgets for arm in study.arms),
        convergence=convergence(results),
        verdicts=verdicts(results),
    )


def summarise_arm(results: Results, arm: Arm, budget: int) -> ArmSummary:
    """Summarise one arm at one budget. Times and counts are those of the finished runs, or of all if none finished."""
    cell = (arm.name, budget)
    chosen, tuning, runs = results.chosen[cell], results.tuning[cell], results.final[cell]
    finished = [run for run in runs if run.outcome == "finished"]
    test = [run.test_accuracy for run in finished if run.test_accuracy is not None]
    measured = finished or runs
    alone = [run for run in measured if run.replicas == 1]
    timed = alone or measured
    return ArmSummary(
        arm=arm.name,
        budget=budget,
        lr=chosen.lr,
        threshold=chosen.clip.threshold if chosen.clip else None,
        edge=is_at_edge((record.trial.lr for record in tuning), chosen.lr),
        runs=len(runs),
        diverged=len(runs) - len(finished),
        divergence_rate=share_estimate(len(runs) - len(finished), len(runs)),
        test_accuracy=accuracy_estimate(test),
        test_accuracy_bootstrap=mean_estimate(test, bootstrap_interval),
        test_accuracy_iqm=mean_estimate(test, interquartile_mean),
        val_accuracy=accuracy_estimate([run.val_accuracy for run in finished if run.val_accuracy is not None]),
        test_loss=mean_estimate([run.test_loss for run in finished if run.test_loss is not None]),
        test_also={
            name: accuracy_estimate([run.test_also[name] for run in finished if name in run.test_also])
            for name in results.task.recipe.also
        },
        clip_rate=_mean(run.clip_rate for run in runs),
        norm_median=_median(run.norm_quantiles[QUANTILES.index(0.5)] for run in runs if run.norm_quantiles),
        timed_alone=len(alone),
        step_ms=_median(run.times.step_ms for run in timed),
        optimizer_ms=_median(run.times.optimizer_ms for run in timed),
        seconds=_mean(run.times.wall_seconds for run in timed),
        steps=max((run.steps for run in measured), default=0),
        flops=max((run.flops for run in measured), default=0.0),
        tuning_runs=len(tuning),
        tuning_diverged=sum(run.outcome == "diverged" for run in tuning),
    )


def _mean(values: Iterable[float]) -> float:
    numbers = _without_nan(values)
    return fmean(numbers) if numbers else math.nan


def _median(values: Iterable[float]) -> float:
    numbers = _without_nan(values)
    return median(numbers) if numbers else math.nan


def _without_nan(values: Iterable[float]) -> list[float]:
    """Leave out nan values: a run that diverged at its first step has no norm, no clip rate and no step time."""
    return [value for value in values if not math.isnan(value)]
