"""What a sweep says of each arm: who diverges where, and how wide the range of stable learning rates is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from steadystep.lab.stability.run import SweepResults
from steadystep.lab.statistics.intervals import t_interval, wilson_interval
from steadystep.lab.statistics.summary import Estimate
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.outcome import GUESSING, NO_BETTER
from steadystep.lab.training.record import Record

WITHIN = 0.05
"""How far below its arm's best accuracy a stable learning rate may end, as a fraction of 1."""


@dataclass(frozen=True)
class Point:
    """One learning rate of one arm."""

    lr: float
    runs: int
    diverged: int
    slow: int  # took all steps and learned nothing, at a learning rate not above the arm's best
    divergence: Estimate  # share of diverged runs, Wilson interval
    accuracy: Estimate  # final validation accuracy; t interval; a run that did not finish counts as a guess
    stable: bool


@dataclass(frozen=True)
class Range:
    """The stable learning rates of an arm."""

    low: float
    high: float
    open_low: bool  # low is the smallest that was tried: the range may go on
    open_high: bool
    gaps: int  # tried learning rates between low and high that are not stable

    @property
    def open(self) -> bool:
        return self.open_low or self.open_high

    @property
    def decades(self) -> float:
        return math.log10(self.high / self.low)


@dataclass(frozen=True)
class ArmStability:
    """One arm of a sweep."""

    arm: str
    optimizer: str  # the name of its unclipped twin: its own where it does not clip
    clip: str | None
    threshold: float | None
    best: float
    points: tuple[Point, ...]  # learning rates rising
    stable: Range | None  # None where no learning rate is stable


def summarise_sweep(results: SweepResults, within: float = WITHIN) -> tuple[ArmStability, ...]:
    """Every arm, in the sweep's order.

    A learning rate is stable for an arm if every run at it finished (all losses and gradients finite) and learned
    more than how frequent the classes are, and the mean final validation accuracy is no more than `within` below that
    at the arm's best learning rate. The stable range goes from the smallest to the largest stable learning rate.

    A run that took all steps and learned nothing counts as too slow up to the arm's best learning rate, and as
    diverged above it: an optimizer that was thrown out of the region where the network learns often stays finite.
    """
    summaries = []
    for arm in results.study.arms:
        runs, best = results.records[arm.name], results.best[arm.name]
        points = points_of(runs, best, results.task, within)
        twin = results.study.twin(arm) if arm.clip else arm
        assert twin, "a clipped arm of a sweep comes with its twin"
        clip = runs[0].trial.clip
        summaries.append(
            ArmStability(
                arm.name, twin.name, arm.clip, clip.threshold if clip else None, best, points, stable_range(points)
            )
        )
    return tuple(summaries)


def points_of(runs: Sequence[Record], best: float, task: Task, within: float) -> tuple[Point, ...]:
    """One point for each learning rate, rising."""
    chance = task.chance
    by_lr = {lr: [run for run in runs if run.trial.lr == lr] for lr in sorted({run.trial.lr for run in runs})}
    means = {lr: t_interval([_accuracy(run, chance) for run in tried]) for lr, tried in by_lr.items()}
    # Free of rounding error: accuracies are counts over examples.
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
                divergence=wilson_interval(diverged, len(tried)),
                accuracy=means[lr],
                stable=not nothing + exploded and round(means[lr].mean, 12) >= enough,
            )
        )
    return tuple(points)


def stable_range(points: Sequence[Point]) -> Range | None:
    """From the smallest to the largest stable learning rate; None where none is stable."""
    stable = [place for place, point in enumerate(points) if point.stable]
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
    """By how many decades clipping moves the largest stable learning rate; nan where either arm has none."""
    if clipped.stable is None or twin.stable is None:
        return math.nan
    return math.log10(clipped.stable.high / twin.stable.high) + 0.0


def _learned_nothing(run: Record, task: Task) -> bool:
    """Whether it took all its steps, and neither on the training nor on the validation split is better than a guess.

    The validation split is asked as well, for an epoch's mean training loss has its first steps in it: a run of a
    single epoch may end far below.
    """
    if run.outcome == "diverged" or task.frequencies is None:
        return run.reason.startswith(NO_BETTER)
    return min(run.curve.train_loss[-1], run.curve.val_loss[-1]) >= GUESSING * task.frequencies.loss


def _accuracy(run: Record, chance: float) -> float:
    return chance if run.outcome == "diverged" or run.val_accuracy is None else run.val_accuracy
