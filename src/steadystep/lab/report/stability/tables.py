"""The tables of a sweep: its declaration, the stable ranges, and every learning rate."""

import math
from collections.abc import Mapping, Sequence

from steadystep.lab.report.cells import NOTHING, count, estimate, margin, percent, setting
from steadystep.lab.report.tables import Column, Table
from steadystep.lab.stability.run import SweepResults
from steadystep.lab.stability.summary import ArmStability, Point, top_shift
from steadystep.lab.statistics.summary import Estimate


def ranges_table(arms: Sequence[ArmStability], within: float) -> Table:
    """Return the stable ranges, with one row per arm."""
    twins = {arm.arm: arm for arm in arms}
    return Table.of(
        "Stable range of each arm",
        [
            Column("Arm"),
            Column("Clip"),
            Column("Best lr", kind="number"),
            Column("Accuracy there", "%", "number"),
            Column("Stable from", "lr", "number"),
            Column("Stable to", "lr", "number"),
            Column("Width", "decades", "number"),
            Column("Top moved", "decades", "number"),
            Column("Diverged", "runs", "number"),
        ],
        [_range_row(arm, twins[arm.optimizer]) for arm in arms],
        "A learning rate is stable if every run at it finished and learned more than the class frequencies, and if the "
        f"mean final validation accuracy is at most {margin(within)} points below that at the arm's best learning "
        "rate. ≤, ≥: the range reaches the end of the grid and may extend further. Top moved: the largest stable "
        "learning rate relative to that of the same optimizer without clipping. Clipping makes steps smaller. If the "
        "step grows with the gradient, as in SGD, clipping shifts the whole range up, and only the width shows what it "
        "adds.",
    )


def rates_table(results: SweepResults, arms: Sequence[ArmStability]) -> Table:
    """Return one row per learning rate of these arms, with two columns per arm."""
    points = {arm.arm: {point.lr: point for point in arm.points} for arm in arms}
    lrs = sorted({lr for tried in points.values() for lr in tried})
    columns = [Column("lr")]
    for arm in arms:
        columns += [Column(arm.arm, "diverged, %", "number"), Column(arm.arm, "accuracy, %", "number")]
    return Table.of(
        f"{arms[0].optimizer} by learning rate",
        columns,
        [[setting(lr), *(cell for arm in arms for cell in _rate_cells(points[arm.arm], lr))] for lr in lrs],
        f"Over {count(results.study.tune_seeds, 'seed')}. Diverged: share of runs with its 95% Wilson interval; "
        "'slow' counts runs at or below the best learning rate that learned nothing in their epochs. Accuracy: final "
        "validation accuracy, mean ± 95% t interval; a run that did not finish counts as a guess. ✓: stable.",
    )


def sweep_table(results: SweepResults) -> Table:
    """Return the declaration of the sweep."""
    study, task = results.study, results.task
    return Table.of(
        "Sweep",
        [Column("Field"), Column("Value", kind="prose")],
        [
            ["Task", f"{task.name}, version {task.version}"],
            ["Data", task.dataset],
            ["Runs", f"{count(study.epochs, 'epoch')}, {study.schedule}, batch size {study.batch_size}"],
            ["Seeds", f"{study.tune_seeds}, the same for all arms"],
            *([f"Grid of {arm.name}", _grid(arm.lrs)] for arm in study.arms if not arm.clip),
            *([f"Clip of {arm.name}", _threshold(arm.quantiles)] for arm in study.arms if arm.clip),
        ],
    )


def _range_row(arm: ArmStability, twin: ArmStability) -> list[str]:
    at_best = next(point for point in arm.points if point.lr == arm.best)
    stable, runs = arm.stable, sum(point.runs for point in arm.points)
    shift = top_shift(arm, twin)
    return [
        arm.arm,
        f"{arm.clip} {setting(arm.threshold)}" if arm.clip and arm.threshold else NOTHING,
        setting(arm.best) if stable else NOTHING,
        estimate(at_best.accuracy) if stable else NOTHING,
        f"{'≤ ' if stable.open_low else ''}{setting(stable.low)}" if stable else NOTHING,
        f"{'≥ ' if stable.open_high else ''}{setting(stable.high)}" if stable else NOTHING,
        f"{'≥ ' if stable.open else ''}{stable.decades:.1f}" if stable else NOTHING,
        f"{shift:+.1f}".replace("-", "−") if arm.clip and math.isfinite(shift) else NOTHING,
        f"{sum(point.diverged for point in arm.points)}/{runs}",
    ]


def _rate_cells(points: Mapping[float, Point], lr: float) -> tuple[str, str]:
    point = points.get(lr)
    if point is None:
        return NOTHING, NOTHING
    slow = f", {point.slow} slow" if point.slow else ""
    return f"{_share(point.divergence)}{slow}", f"{estimate(point.accuracy)}{' ✓' if point.stable else ''}"


def _share(value: Estimate) -> str:
    return f"{percent(value.mean, 0)} [{percent(value.low, 0)}, {percent(value.high, 0)}]"


def _grid(lrs: Sequence[float]) -> str:
    return f"{count(len(lrs), 'learning rate')} from {setting(min(lrs))} to {setting(max(lrs))}"


def _threshold(quantiles: Sequence[float]) -> str:
    if not quantiles:
        return "the threshold of its authors"
    return f"threshold: the {100 * quantiles[0]:g}% quantile of the norms of the unclipped runs at their best lr"
