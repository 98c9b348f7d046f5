"""Summarise a sweep: where each arm diverges, its ranges of usable learning rates, and its sensitivity to them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from steadystep.lab.stability.run import SweepResults
from steadystep.lab.stability.sensitivity import Sensitivity, sensitivities
from steadystep.lab.statistics.reported import accuracy_estimate, share_estimate
from steadystep.lab.statistics.summary import Estimate
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.outcome import GUESSING, NO_BETTER
from steadystep.lab.training.record import Record

WITHIN = 0.05
"""How far below the best accuracy of its arm the accuracy at a usable learning rate may be, as a fraction of 1."""

TOLERANCES = (0.01, 0.02, 0.05, 0.1)
"""The tolerances at which ranges are compared, because a comparison at one of them can be reversed at another."""

State = Literal["usable", "slow", "unstable"]


@dataclass(frozen=True)
class Point:
    """The results of one arm at one learning rate."""

    lr: float
    runs: int
    diverged: int
    slow: int  # runs that took all steps and learned nothing, at a learning rate not above the arm's best
    divergence: Estimate  # share of diverged runs, Wilson interval
    accuracy: Estimate  # final validation accuracy, t interval; a run that did not finish counts at chance level
    state: State


@dataclass(frozen=True)
class Range:
    """The range of usable learning rates of an arm."""

    low: float
    high: float
    open_low: bool  # low is the smallest rate that was tried: the range may extend further
    open_high: bool
    gaps: int  # number of tried learning rates between low and high that are not usable

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
    usable: Range | None  # None if no learning rate is usable
    ranges: Mapping[float, Range | None]  # the same by tolerance
    sensitivity: Sensitivity


def summarise_sweep(results: SweepResults, within: float = WITHIN) -> tuple[ArmStability, ...]:
    """Summarise every arm, in the order of the sweep.

    A learning rate is usable for an arm if every run at it finished (all losses and gradients finite) and learned more
    than the class frequencies, and if the mean final validation accuracy is at most `within` below that at the arm's
    best learning rate. The usable range goes from the smallest to the largest usable learning rate. Where no run
    diverged and the learning rate is below the best, training is slow: that is not a lack of stability.

    A run that took all steps and learned nothing counts as too slow up to the arm's best learning rate and as
    diverged above it: an optimizer that leaves the region in which the network learns often stays finite.
    """
    summaries = []
    sensitive = sensitivities(results)
    for arm in results.study.arms:
        runs, best = results.records[arm.name], results.best[arm.name]
        points = points_of(runs, best, results.task, within)
        twin = results.study.twin(arm) if arm.clip else arm
        assert twin, "a sweep contains the unclipped twin of every clipped arm"
        clip = runs[0].trial.clip
        ranges = {
            tolerance: usable_range(points_of(runs, best, results.task, tolerance))
            for tolerance in sorted({*TOLERANCES, within})
        }
        summaries.append(
            ArmStability(
                arm=arm.name,
                optimizer=twin.name,
                clip=arm.clip,
                threshold=clip.threshold if clip else None,
                best=best,
                points=points,
                usable=ranges[within],
                ranges=ranges,
                sensitivity=sensitive[arm.name],
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
        good = not nothing + exploded and round(means[lr].mean, 12) >= enough
        points.append(
            Point(
                lr=lr,
                runs=len(tried),
                diverged=diverged,
                slow=slow,
                divergence=share_estimate(diverged, len(tried)),
                accuracy=means[lr],
                state="usable" if good else "slow" if lr < best and not diverged else "unstable",
            )
        )
    return tuple(points)


def usable_range(points: Sequence[Point]) -> Range | None:
    """Return the range from the smallest to the largest usable learning rate, or None if none is usable."""
    usable = [index for index, point in enumerate(points) if point.state == "usable"]
    if not usable:
        return None
    first, last = usable[0], usable[-1]
    return Range(
        low=points[first].lr,
        high=points[last].lr,
        open_low=first == 0,
        open_high=last == len(points) - 1,
        gaps=last - first + 1 - len(usable),
    )


def top_shift(clipped: ArmStability, twin: ArmStability) -> float:
    """Return how many decades clipping adds to the largest usable learning rate, or NaN if either arm has none."""
    if clipped.usable is None or twin.usable is None:
        return math.nan
    return math.log10(clipped.usable.high / twin.usable.high) + 0.0


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
