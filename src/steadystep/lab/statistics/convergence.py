"""Epochs to convergence under five definitions; runs that never converge are treated as censored."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
from scipy import stats

from steadystep.lab.statistics.summary import Convergence
from steadystep.lab.study.records import Results
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.record import Curve, Record

SUSTAINED = 3
"""Number of consecutive evaluations that the sustained target requires."""

NEAR = 0.001
"""Distance below the run's best accuracy, as a fraction of 1, within which a run is near its best."""


def first_reach(curve: Curve, target: float) -> int | None:
    """Return the first epoch with validation accuracy >= target, or None.

    >>> first_reach(Curve(val_accuracy=(0.7, 0.91, 0.89, 0.9, 0.92, 0.93)), 0.9)
    2
    """
    return _first([accuracy >= target for accuracy in curve.val_accuracy])


def sustained_reach(curve: Curve, target: float) -> int | None:
    """Return the start of the first 3 consecutive evaluations with validation accuracy >= target, or None.

    The result is also None if the target is first reached in the last two epochs, because three evaluations are needed.

    >>> sustained_reach(Curve(val_accuracy=(0.7, 0.91, 0.89, 0.9, 0.92, 0.93)), 0.9)
    4
    """
    reached = [accuracy >= target for accuracy in curve.val_accuracy]
    return _first([all(reached[i : i + SUSTAINED]) for i in range(len(reached) - SUSTAINED + 1)])


def near_best(curve: Curve) -> int | None:
    """Return the first epoch with validation accuracy >= the run's best - 0.001.

    >>> near_best(Curve(val_accuracy=(0.7, 0.919, 0.918, 0.92)))
    2
    """
    best = max((accuracy for accuracy in curve.val_accuracy if math.isfinite(accuracy)), default=math.nan)
    # Accuracies are counts divided by the number of examples: 1e-9 is smaller than any difference between two of them,
    # and larger than the rounding error.
    return _first([best - accuracy <= NEAR + 1e-9 for accuracy in curve.val_accuracy])


def loss_reach(curve: Curve, target: float) -> int | None:
    """Return the first epoch with training loss <= target, or None.

    >>> loss_reach(Curve(train_loss=(1.2, 0.3, 0.1)), 0.3)
    2
    """
    return _first([loss <= target for loss in curve.train_loss])


EPOCHS_TO_TARGET = "epochs to target"
SUSTAINED_TARGET = "epochs to sustained target"
NEAR_BEST = "epochs to near best"
TARGET_LOSS = "epochs to target loss"
BUDGET_TO_TARGET = "budget to target"

FORMER_NAMES = {
    "D1": EPOCHS_TO_TARGET,
    "D2": SUSTAINED_TARGET,
    "D3": NEAR_BEST,
    "D4": TARGET_LOSS,
    "D5": BUDGET_TO_TARGET,
}
"""The name of each definition by the key that CSV files of earlier versions have instead."""


@dataclass(frozen=True)
class Definition:
    """A definition of the time to convergence: its name, its statement in a report, and its rule for one curve."""

    name: str
    statement: str
    epoch: Callable[[Curve, Task], int | None] | None  # None for the budget to target, which has no rule for a curve


DEFINITIONS = (
    Definition(
        EPOCHS_TO_TARGET,
        "First epoch with validation accuracy at the task's target or above.",
        lambda curve, task: first_reach(curve, task.target_accuracy),
    ),
    Definition(
        SUSTAINED_TARGET,
        f"First epoch of {SUSTAINED} evaluations in a row with validation accuracy at the target or above.",
        lambda curve, task: sustained_reach(curve, task.target_accuracy),
    ),
    Definition(
        NEAR_BEST,
        f"First epoch within {100 * NEAR:.1f} points of the run's own best validation accuracy. It penalises "
        "better methods: one that stops improving early, at a lower accuracy, counts as fast.",
        lambda curve, task: near_best(curve),
    ),
    Definition(
        TARGET_LOSS,
        "First epoch with training loss at the task's target loss or below.",
        lambda curve, task: loss_reach(curve, task.target_loss),
    ),
    Definition(
        BUDGET_TO_TARGET,
        "Smallest budget of epochs, run with its own full schedule and its own tuning, whose mean final "
        "validation accuracy over seeds is at the target or above; a diverged run counts as a guess.",
        None,
    ),
)
"""The definitions that a report shows. The budget to target uses all budgets, the others the curves of the largest."""


def convergence(results: Results) -> tuple[Convergence, ...]:
    """Evaluate every definition for every arm, ordered by definition and then by the study's order of arms.

    The definitions on curves censor a run at the budget if it diverged, even if its curve reached the target before, or
    if it never reached the target.
    """
    study = results.study
    rows = []
    for definition in DEFINITIONS:
        rule = definition.epoch
        if rule is None:
            rows += [smallest_budget(results, arm.name) for arm in study.arms]
            continue
        first = None
        for arm in study.arms:
            runs = results.final[arm.name, study.epochs]
            epochs = [rule(run.curve, results.task) if run.outcome == "finished" else None for run in runs]
            rows.append(
                Convergence(
                    arm=arm.name,
                    definition=definition.name,
                    epochs=kaplan_meier_median(epochs, study.epochs),
                    reached=sum(epoch is not None for epoch in epochs),
                    runs=len(epochs),
                    log_rank_p=None if first is None else log_rank(epochs, first, study.epochs),
                )
            )
            first = epochs if first is None else first
    return tuple(rows)


def smallest_budget(results: Results, arm: str) -> Convergence:
    """Compute the budget to target: the smallest one whose mean final validation accuracy over seeds is >= the target.

    A diverged run counts with chance accuracy, so that no arm gains from the divergence of its worst runs. Chance is
    used rather than 0, because a network with nan outputs is still as accurate as guessing; the verdicts do the same.
    `reached` counts the runs at or above the target at that budget, or at the largest budget if no mean reaches it.
    """
    task, runs, reached = results.task, (), 0
    for budget in results.study.budgets:
        runs = results.final[arm, budget]
        accuracies = [_final_accuracy(run, task.chance) for run in runs]
        reached = sum(accuracy >= task.target_accuracy for accuracy in accuracies)
        # statistics.mean is exact, unlike fmean: the mean of ten runs that all end at 0.94 is 0.94.
        if accuracies and mean(accuracies) >= task.target_accuracy:
            return Convergence(arm, BUDGET_TO_TARGET, float(budget), reached, len(runs), None)
    return Convergence(arm, BUDGET_TO_TARGET, None, reached, len(runs), None)


def kaplan_meier_median(epochs: Sequence[int | None], budget: int) -> float | None:
    """Return the median time to convergence, the smallest t with S(t) <= 1/2; None entries are censored at the budget.

    S is the Kaplan-Meier estimate of the fraction of runs that have not converged by epoch t. The result is None if
    fewer than half of the runs converged, or if there is no run.
    Source: Kaplan and Meier, Nonparametric estimation from incomplete observations, JASA 53 (1958).

    >>> kaplan_meier_median([3, 5, None, 4, None], budget=8)
    5.0
    >>> kaplan_meier_median([3, None, None], budget=8) is None
    True
    """
    if not epochs:
        return None
    survival = stats.ecdf(_censored(epochs, budget)).sf
    # S is a product of rounded ratios, so it may exceed 1/2 by a rounding error when half of the runs have converged.
    below_half = survival.quantiles[survival.probabilities <= 0.5 + 1e-9]
    return float(below_half[0]) if below_half.size else None


def log_rank(epochs: Sequence[int | None], against: Sequence[int | None], budget: int) -> float:
    """Return the two-sided p value of the log-rank test; null hypothesis: both samples converge equally fast.

    None entries are censored at the budget. Z = Σ (O - E) / √ΣV over the epochs at which a run converged. If ΣV = 0
    (no run converged, or all at the same epoch), O = E too, and p = 1. The result is nan if a sample is empty.
    Source: Mantel, Evaluation of survival data, Cancer Chemotherapy Reports 50 (1966).

    >>> log_rank([2, 2, None], [2, 2, None], budget=4)
    1.0
    """
    if not epochs or not against:
        return math.nan
    with np.errstate(invalid="ignore"):
        p_value = float(stats.logrank(_censored(epochs, budget), _censored(against, budget)).pvalue)
    return 1.0 if math.isnan(p_value) else p_value


def _first(hits: Sequence[bool]) -> int | None:
    """Return the first epoch that is a hit, counted from 1. A nan in a curve compares as false, so it is not a hit."""
    return next((epoch for epoch, hit in enumerate(hits, start=1) if hit), None)


def _censored(epochs: Sequence[int | None], budget: int) -> stats.CensoredData:
    reached = [epoch for epoch in epochs if epoch is not None]
    return stats.CensoredData(uncensored=reached, right=[budget] * (len(epochs) - len(reached)))


def _final_accuracy(run: Record, chance: float) -> float:
    return chance if run.outcome == "diverged" or run.val_accuracy is None else run.val_accuracy
