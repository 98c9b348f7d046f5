"""Tables of a sweep: the stable ranges, and every learning rate."""

import math
from collections.abc import Mapping, Sequence

from steadystep.lab.report.cells import NOTHING, count, estimate, margin, percent, setting
from steadystep.lab.report.tables import Column, Table
from steadystep.lab.stability.run import SweepResults
from steadystep.lab.stability.summary import ArmStability, Point, top_shift
from steadystep.lab.statistics.summary import Estimate


def ranges_table(arms: Sequence[ArmStability], within: float) -> Table:
    """One row an arm."""
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
        "A learning rate is stable if every run at it finished and beat a guess that knows how frequent the classes "
        f"are, and the mean final validation accuracy is at most {margin(within)} points below that at the arm's best "
        "learning rate. ≤, ≥: the range reaches the end of the grid and may go on. Top moved: the largest stable "
        "learning rate against that of the same optimizer without clipping. Clipping makes steps smaller: where steps "
        "grow with the gradient, as SGD's do, it moves the whole range up, and only the width tells what it adds.",
    )


def rates_table(results: SweepResults, arms: Sequence[ArmStability]) -> Table:
    """One row a learning rate of these arms, two columns an arm."""
    points = {arm.arm: {point.lr: point for point in arm.points} for arm in arms}
    lrs = sorted({lr for tried in points.values() for lr in tried})
    columns = [Column("lr")]
    for arm in arms:
        columns += [Column(arm.arm, "diverged, %", "number"), Column(arm.arm, "accuracy, %", "number")]
    return Table.of(
        f"{arms[0].optimizer} by learning rate",
        columns,
        [[setting(lr), *(cell for arm in arms for cell in _rate_cells(points[arm.arm], lr))] for lr in lrs],
        f"Of {count(results.study.tune_seeds, 'seed')}. Diverged: share with its 95% Wilson interval; 'slow' counts "
        "runs not above the best learning rate that learned nothing in the time they had. Accuracy: final validation "
        "accuracy, mean ± 95% t interval, a run that did not finish counted as a guess. ✓: stable.",
    )


def sweep_table(results: SweepResults) -> Table:
    """What was declared."""
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
    found, runs = arm.stable, sum(point.runs for point in arm.points)
    shift = top_shift(arm, twin)
    return [
        arm.arm,
        f"{arm.clip} {setting(arm.threshold)}" if arm.clip and arm.threshold else NOTHING,
        setting(arm.best) if found else NOTHING,
        estimate(at_best.accuracy) if found else NOTHING,
        f"{'≤ ' if found.open_low else ''}{setting(found.low)}" if found else NOTHING,
        f"{'≥ ' if found.open_high else ''}{setting(found.high)}" if found else NOTHING,
        f"{'≥ ' if found.open else ''}{found.decades:.1f}" if found else NOTHING,
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
        return "its authors' threshold"
    return f"threshold at the {100 * quantiles[0]:g}% quantile of the norms of the unclipped runs at their best lr"
