"""The tables of a sweep: its declaration, sensitivity, the usable ranges, and every learning rate."""

import math
from collections.abc import Mapping, Sequence

from steadystep.lab.counted import count, measure
from steadystep.lab.report.cells import (
    NOTHING,
    estimate,
    margin,
    over_seeds,
    setting,
    settings_range,
    share_interval,
    signed,
)
from steadystep.lab.report.tables import Column, Table
from steadystep.lab.stability.run import SweepResults
from steadystep.lab.stability.summary import ArmStability, Point, Range, State, top_shift
from steadystep.lab.statistics.summary import Estimate

MARKS: Mapping[State, str] = {"usable": " ✓", "slow": " s", "unstable": ""}


def sensitivity_table(results: SweepResults, arms: Sequence[ArmStability]) -> Table:
    """Return the learning-rate sensitivity of each arm, and what clipping changes about it."""
    rows = []
    for arm in arms:
        change = arm.sensitivity.change
        rows.append(
            [arm.arm, *_interval(arm.sensitivity.value), *(_interval(change, "+") if change else [NOTHING] * 2)]
        )
    seeds = over_seeds(results.study.tune_seeds, "with percentile bootstrap intervals over them")
    return Table.of(
        "Learning-rate sensitivity",
        [
            Column("Arm"),
            Column("Sensitivity", "nats", "number", meaning="how much is lost on average over the learning rates"),
            Column("95% interval", "nats", "number"),
            Column("Change by clipping", "nats", "number"),
            Column("95% interval of the change", "nats", "number"),
        ],
        rows,
        f"Over {count(len(arms[0].points), 'learning rate')} and {seeds}. It needs no tolerance.",
        "Sensitivity: the mean final validation loss over the learning rates of the sweep, minus the lowest one. "
        f"A run's loss counts as at most {results.task.loss_of_a_guess:.3f}, that of a guess, and so does a run that "
        "did not finish. Source: Wortsman et al., arXiv 2309.14322 (2023). Seeds are paired over arms.",
    )


def tolerances_table(arms: Sequence[ArmStability]) -> Table:
    """Return the width of the usable range at several tolerances, with one row per arm."""
    tolerances = list(arms[0].ranges)
    return Table.of(
        "Width of the usable range by tolerance",
        [
            Column("Arm"),
            *(Column(f"within {measure(margin(each), 'point')}", "decades", "number") for each in tolerances),
        ],
        [[arm.arm, *(_width(arm.ranges[each]) for each in tolerances)] for arm in arms],
        "≥: at an end of the grid.",
    )


def ranges_table(arms: Sequence[ArmStability], within: float) -> Table:
    """Return the usable ranges, with one row per arm."""
    twins = {arm.arm: arm for arm in arms}
    return Table.of(
        "Usable range of each arm",
        [
            Column("Arm"),
            Column("Clip"),
            Column("Best lr", kind="number"),
            Column("Accuracy there", "%", "number"),
            Column("Usable from", "lr", "number"),
            Column("Usable to", "lr", "number"),
            Column("Width", "decades", "number"),
            Column("Top moved", "decades", "number", meaning="the largest usable lr relative to that without clipping"),
            Column("Diverged", "runs", "number", meaning="runs that failed or learned nothing"),
        ],
        [_range_row(arm, twins[arm.optimizer]) for arm in arms],
        f"Usable: no run diverged, and the mean is at most {measure(margin(within), 'point')} below the arm's best. "
        "Below the range training is slow, above it unstable. ≤, ≥: at the end of the grid.",
        "A learning rate is usable if every run at it finished and learned more than the class frequencies, and if the "
        "mean final validation accuracy is close enough to that at the arm's best learning rate. A range at the end of "
        "the grid may extend further. Clipping makes steps smaller. If the step grows with the gradient, as in SGD, "
        "clipping shifts the whole range up, and only the width shows what it adds.",
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
        f"Over {over_seeds(results.study.tune_seeds)}. ✓: usable; s: slow, at a learning rate below the best one.",
        "Diverged: share of runs with its Wilson interval; then the runs that learned nothing at or below the best "
        "learning rate, which are slow as well. Accuracy: final validation accuracy, mean ± t interval; a run that did "
        "not finish counts as a guess.",
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
        "What the command of this sweep fixes.",
    )


def _range_row(arm: ArmStability, twin: ArmStability) -> list[str]:
    at_best = next(point for point in arm.points if point.lr == arm.best)
    usable, runs = arm.usable, sum(point.runs for point in arm.points)
    shift = top_shift(arm, twin)
    return [
        arm.arm,
        f"{arm.clip} {setting(arm.threshold)}" if arm.clip and arm.threshold else NOTHING,
        setting(arm.best) if usable else NOTHING,
        estimate(at_best.accuracy) if usable else NOTHING,
        f"{'≤ ' if usable.open_low else ''}{setting(usable.low)}" if usable else NOTHING,
        f"{'≥ ' if usable.open_high else ''}{setting(usable.high)}" if usable else NOTHING,
        _width(usable),
        signed(shift, 1) if arm.clip and math.isfinite(shift) else NOTHING,
        f"{sum(point.diverged for point in arm.points)}/{runs}",
    ]


def _width(usable: Range | None) -> str:
    return f"{'≥ ' if usable.open else ''}{usable.decades:.2g}" if usable else NOTHING


def _interval(value: Estimate, sign: str = "") -> tuple[str, str]:
    """Return a sensitivity and its interval."""
    mean, low, high = (f"{part + 0.0:{sign}.3f}".replace("-", "−") for part in (value.mean, value.low, value.high))
    return mean, f"[{low}, {high}]" if math.isfinite(value.low) else NOTHING


def _rate_cells(points: Mapping[float, Point], lr: float) -> tuple[str, str]:
    point = points.get(lr)
    if point is None:
        return NOTHING, NOTHING
    slow = f", {point.slow} slow" if point.slow else ""
    return f"{share_interval(point.divergence)}{slow}", f"{estimate(point.accuracy)}{MARKS[point.state]}"


def _grid(lrs: Sequence[float]) -> str:
    ends = settings_range(min(lrs), max(lrs))
    return f"{count(len(lrs), 'learning rate')} from {ends}" if len(lrs) > 1 else f"the learning rate {ends}"


def _threshold(quantiles: Sequence[float]) -> str:
    if not quantiles:
        return "the threshold of its authors"
    return f"threshold: the {100 * quantiles[0]:g}% quantile of the norms of the unclipped runs at their best lr"
