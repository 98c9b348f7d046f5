"""Summarise a sweep: at which learning rates each arm diverges, and its range of stable learning rates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from steadystep.lab.stability.run import SweepResults
from steadystep.lab.statistics.reported import accuracy_estimate, share_estimate
from steadystep.lab.statistics.summary import Estimate
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.outcome import GUESSING, NO_BETTER
from steadystep.lab.training.record import Record

WITHIN = 0.05
"""How far below the best accuracy of its arm the accuracy at a stable learning rate may be, as a fraction of 1."""


@dataclass(frozen=True)
class Point:
    """The results of one arm at one learning rate."""

    lr: float
    runs: int
    diverged: int
    slow: int  # runs that took all steps and learned nothing, at a learning rate not above the arm's best
    divergence: Estimate  # share of diverged runs, Wilson interval
    accuracy: Estimate  # final validation accuracy, t interval; a run that did not finish counts at chance level
    stable: bool


@dataclass(frozen=True)
class Range:
    """The range of stable learning rates of an arm."""

    low: float
    high: float
    open_low: bool  # low is the smallest rate that was tried: the range may extend further
    open_high: bool
    gaps: int  # number of tried learning rates between low and high that are not stable

    @property
    def open(self) -> bool:
        """Whether the range may extend beyond the grid on at least one side."""
        return self.open_low or self.open_high

    @property
    def decades(self) -> float:
        """The width of the range in decades."""
        return math.log10(self.high / self.low)


@dataclass(frozen=True)
class ArmStability:
    """The summary of one arm of a sweep."""

    arm: str
    optimizer: str  # the name of its unclipped twin, or its own name if it does not clip
    clip: str | None
    threshold: float | None
    best: float
    points: tuple[Point, ...]  # in ascending order of the learning rate
    stable: Range | None  # None if no learning rate is stable


def summarise_sweep(results: SweepResults, within: float = WITHIN) -> tuple[ArmStability, ...]:
    """Summarise every arm, in the order of the sweep.

    A learning rate is stable for an arm if every run at it finished (all losses and gradients finite) and learned
    more than the class frequencies, and if the mean final validation accuracy is at most `within` below that at the
    arm's best learning rate. The stable range goes from the smallest to the largest stable learning rate.

    A run that took all steps and learned nothing counts as too slow up to the arm's best learning rate and as
    diverged above it: an optimizer that leaves the region in which the network learns often stays finite.
    """
    summaries = []
    for arm in results.study.arms:
        runs, best = results.records[arm.name], results.best[arm.name]
        points = points_of(runs, best, results.task, within)
        twin = results.study.twin(arm) if arm.clip else arm
        assert twin, "a sweep contains the unclipped twin of every clipped arm"
        clip = runs[0].trial.clip
        summaries.append(
            ArmStability(
                arm.name, twin.name, arm.clip, clip.threshold if clip else None, best, points, stable_range(points)
            )
        )
    return tuple(summaries)


def points_of(runs: Sequence[Record], best: float, task: Task, within: float) -> tuple[Point, ...]:
    """Return one point per learning rate, in ascending order."""
    chance = task.chance
    by_lr = {lr: [run for run in runs if run.trial.lr == lr] for lr in sorted({run.trial.lr for run in runs})}
    means = {lr: accuracy_estimate([_accuracy(run, chance) for run in tried]) for lr, tried in by_lr.items()}
    # Accuracies are counts divided by the number of examples: rounding removes the floating-point error.
    enough = round(means[best].mean - within, 12)
    points = []
    for lr, tried in by_lr.items():
        nothing = sum(_learned_nothing(run, task) for run in tried)
        exploded = sum(run.outcome == "diverged" and not _learned_nothing(run, task) for run in tried)
        slow = nothing if lr <= best else 0
        diverged = exploded + nothing - slow
        points.append(
            Point(
                lr=lr,
                runs=len(tried),
                diverged=diverged,
                slow=slow,
                divergence=share_estimate(diverged, len(tried)),
                accuracy=means[lr],
                stable=not nothing + exploded and round(means[lr].mean, 12) >= enough,
            )
        )
    return tuple(points)


def stable_range(points: Sequence[Point]) -> Range | None:
    """Return the range from the smallest to the largest stable learning rate, or None if none is stable."""
    stable = [index for index, point in enumerate(points) if point.stable]
    if not stable:
        return None
    first, last = stable[0], stable[-1]
    return Range(
        low=points[first].lr,
        high=points[last].lr,
        open_low=first == 0,
        open_high=last == len(points) - 1,
        gaps=last - first + 1 - len(stable),
    )


def top_shift(clipped: ArmStability, twin: ArmStability) -> float:
    """Return how many decades clipping adds to the largest stable learning rate, or NaN if either arm has none."""
    if clipped.stable is None or twin.stable is None:
        return math.nan
    return math.log10(clipped.stable.high / twin.stable.high) + 0.0


def _learned_nothing(run: Record, task: Task) -> bool:
    """Return whether a run took all its steps and is no better than a guess on both training and validation splits.

    The validation split is needed because the mean training loss of an epoch includes its first steps: the final loss
    of a single-epoch run may be far below that mean.
    """
    if run.outcome == "diverged" or task.frequencies is None:
        return run.reason.startswith(NO_BETTER)
    return min(run.curve.train_loss[-1], run.curve.val_loss[-1]) >= GUESSING * task.frequencies.loss


def _accuracy(run: Record, chance: float) -> float:
    """Return the final validation accuracy, or chance accuracy if the run did not finish."""
    return chance if run.outcome == "diverged" or run.val_accuracy is None else run.val_accuracy
