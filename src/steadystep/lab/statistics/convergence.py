"""Epochs to converge, by five definitions, with the runs that never got there counted as such."""

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
"""How many evaluations in a row D2 asks for."""

NEAR = 0.001
"""How far below its own best accuracy, as a fraction of 1, D3 counts a run as converged."""


def first_reach(curve: Curve, target: float) -> int | None:
    """D1: the first epoch with validation accuracy >= target; None where there is none.

    >>> first_reach(Curve(val_accuracy=(0.7, 0.91, 0.89, 0.9, 0.92, 0.93)), 0.9)
    2
    """
    return _first([accuracy >= target for accuracy in curve.val_accuracy])


def sustained_reach(curve: Curve, target: float) -> int | None:
    """D2: the epoch that starts the first 3 evaluations in a row with validation accuracy >= target.

    A target first reached in the last two epochs was not seen to hold: None.

    >>> sustained_reach(Curve(val_accuracy=(0.7, 0.91, 0.89, 0.9, 0.92, 0.93)), 0.9)
    4
    """
    reached = [accuracy >= target for accuracy in curve.val_accuracy]
    return _first([all(reached[i : i + SUSTAINED]) for i in range(len(reached) - SUSTAINED + 1)])


def near_own_best(curve: Curve) -> int | None:
    """D3: the first epoch with validation accuracy >= the run's own best - 0.001.

    >>> near_own_best(Curve(val_accuracy=(0.7, 0.919, 0.918, 0.92)))
    2
    """
    best = max((accuracy for accuracy in curve.val_accuracy if math.isfinite(accuracy)), default=math.nan)
    # Accuracies are counts over examples: 1e-9 is below any step between two, and above the rounding error.
    return _first([best - accuracy <= NEAR + 1e-9 for accuracy in curve.val_accuracy])


def loss_reach(curve: Curve, target: float) -> int | None:
    """D4: the first epoch with training loss <= target; None where there is none.

    >>> loss_reach(Curve(train_loss=(1.2, 0.3, 0.1)), 0.3)
    2
    """
    return _first([loss <= target for loss in curve.train_loss])


@dataclass(frozen=True)
class Definition:
    """A definition of the time to converge: its name, what a report says of it, and its rule on one curve."""

    id: str
    statement: str
    epoch: Callable[[Curve, Task], int | None] | None  # None: D5 is a rule on budgets, not on a curve


DEFINITIONS = (
    Definition(
        "D1",
        "First epoch with validation accuracy at the task's target or above.",
        lambda curve, task: first_reach(curve, task.target_accuracy),
    ),
    Definition(
        "D2",
        f"First epoch of {SUSTAINED} evaluations in a row with validation accuracy at the target or above.",
        lambda curve, task: sustained_reach(curve, task.target_accuracy),
    ),
    Definition(
        "D3",
        f"First epoch within {100 * NEAR:.1f} points of the run's own best validation accuracy. It penalises "
        "better methods: one that stops improving early, at a lower accuracy, counts as fast.",
        lambda curve, task: near_own_best(curve),
    ),
    Definition(
        "D4",
        "First epoch with training loss at the task's target loss or below.",
        lambda curve, task: loss_reach(curve, task.target_loss),
    ),
    Definition(
        "D5",
        "Smallest budget of epochs, run with its own full schedule and its own tuning, whose mean final "
        "validation accuracy over seeds is at the target or above; a diverged run counts as a guess.",
        None,
    ),
)
"""What a report can be asked for. D1 to D4 read the curves of the headline budget, D5 all budgets."""


def convergence(results: Results) -> tuple[Convergence, ...]:
    """Every definition for every arm: definitions in order, arms within them in the study's order.

    A diverged run never converged, whatever its curve touched on the way: by D1 to D4 it is censored at the
    budget, as is a run that did not get there.
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
                    definition=definition.id,
                    epochs=kaplan_meier_median(epochs, study.epochs),
                    reached=sum(epoch is not None for epoch in epochs),
                    runs=len(epochs),
                    log_rank_p=None if first is None else log_rank(epochs, first, study.epochs),
                )
            )
            first = epochs if first is None else first
    return tuple(rows)


def smallest_budget(results: Results, arm: str) -> Convergence:
    """D5: the smallest budget whose mean final validation accuracy over seeds is >= the target.

    A diverged run counts with chance accuracy, so that no arm gains by losing its worst runs: chance rather
    than 0, because a network of nan still answers as well as a guess, and as in the verdicts.
    `reached` counts the runs at or above the target at that budget, or at the largest where no mean is.
    """
    task, runs, reached = results.task, (), 0
    for budget in results.study.budgets:
        runs = results.final[arm, budget]
        accuracies = [_final_accuracy(run, task.chance) for run in runs]
        reached = sum(accuracy >= task.target_accuracy for accuracy in accuracies)
        # statistics.mean is exact, fmean is not: ten runs that all end on 0.94 have a mean of 0.94.
        if accuracies and mean(accuracies) >= task.target_accuracy:
            return Convergence(arm, "D5", float(budget), reached, len(runs), None)
    return Convergence(arm, "D5", None, reached, len(runs), None)


def kaplan_meier_median(epochs: Sequence[int | None], budget: int) -> float | None:
    """Median of the times to converge, None entries censored at the budget: the smallest t with S(t) <= 1/2.

    S is the Kaplan-Meier estimate of the share still to converge after epoch t. None where fewer than half
    of the runs converged, and where there is no run.
    Source: Kaplan and Meier, Nonparametric estimation from incomplete observations, JASA 53 (1958).

    >>> kaplan_meier_median([3, 5, None, 4, None], budget=8)
    5.0
    >>> kaplan_meier_median([3, None, None], budget=8) is None
    True
    """
    if not epochs:
        return None
    survival = stats.ecdf(_censored(epochs, budget)).sf
    # S is a product of rounded ratios: half of the runs may leave it a rounding error above 1/2.
    half = survival.quantiles[survival.probabilities <= 0.5 + 1e-9]
    return float(half[0]) if half.size else None


def log_rank(epochs: Sequence[int | None], against: Sequence[int | None], budget: int) -> float:
    """Two-sided p of the log-rank test that both samples converge alike, None entries censored at the budget.

    Z = Σ (O - E) / √ΣV over the epochs at which a run converged. Where ΣV = 0 (nothing converged, or all runs
    at the same epoch) O = E as well: p = 1. nan where a sample is empty.
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
    """Epochs count from 1. A nan in a curve compares as false: it is no hit."""
    return next((epoch for epoch, hit in enumerate(hits, start=1) if hit), None)


def _censored(epochs: Sequence[int | None], budget: int) -> stats.CensoredData:
    reached = [epoch for epoch in epochs if epoch is not None]
    return stats.CensoredData(uncensored=reached, right=[budget] * (len(epochs) - len(reached)))


def _final_accuracy(run: Record, chance: float) -> float:
    return chance if run.outcome == "diverged" or run.val_accuracy is None else run.val_accuracy
