"""The document of a learning rate sweep: the answer, the figure, the tables and the CSV files."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise

from steadystep.lab.report.cells import count, join_with_and, setting
from steadystep.lab.report.document import Document, Section
from steadystep.lab.report.sheets import as_csv
from steadystep.lab.report.stability.figure import sweep_figure
from steadystep.lab.report.stability.tables import ranges_table, rates_table, sweep_table
from steadystep.lab.report.tables import machines_table
from steadystep.lab.stability.run import SweepResults
from steadystep.lab.stability.summary import WITHIN, ArmStability, Range, summarise_sweep


def stability_document(results: SweepResults, command: str, within: float = WITHIN) -> Document:
    """Return the document of a sweep. `command` is the command that reproduces it."""
    arms = summarise_sweep(results, within)
    runs = [run for tried in results.records.values() for run in tried]
    return Document(
        name="stability",
        subject=results.task.name,
        title=f"Stable learning rates: {results.task.title}",
        lede=answer(arms),
        facts=(
            count(len(arms), "arm"),
            count(results.study.tune_seeds, "seed"),
            count(results.study.epochs, "epoch"),
            count(len(runs), "training run"),
            f"{sum(point.diverged for arm in arms for point in arm.points):,} diverged",
        ),
        notes=tuple(_notes(arms)),
        sections=(
            Section("Sweep", (sweep_figure(results, arms),)),
            Section("Stable learning rates", tables=(ranges_table(arms, within),)),
            Section(
                "Every learning rate",
                tables=tuple(
                    rates_table(results, [arm for arm in arms if arm.optimizer == optimizer])
                    for optimizer in dict.fromkeys(arm.optimizer for arm in arms)
                ),
            ),
        ),
        setting=(sweep_table(results), machines_table([run.environment for run in runs])),
        sheets={"stability.csv": _points_csv(arms), "stability_ranges.csv": _ranges_csv(arms)},
        command=command,
    )


def answer(arms: Sequence[ArmStability]) -> str:
    """State the effect of clipping on the stable range of each optimizer, with one sentence per optimizer."""
    twins = {arm.arm: arm for arm in arms}
    clipped = [arm for arm in arms if arm.clip]
    if not clipped:
        return " ".join(f"{arm.arm} is stable {_range(arm)}." for arm in arms)
    return " ".join(_compared(arm, twins[arm.optimizer]) for arm in clipped)


def _compared(arm: ArmStability, twin: ArmStability) -> str:
    before, after = (sum(point.diverged for point in one.points) for one in (twin, arm))
    runs = sum(point.runs for point in arm.points)
    diverged = f"{after:,} instead of {before:,} of {runs:,} runs diverged"
    if not before + after:
        diverged = f"none of {runs:,} runs diverged with it, and none without"
    if arm.stable is None or twin.stable is None:
        return (
            f"{twin.arm} is stable {_range(twin)} without {arm.clip} clipping, and {_range(arm)} with it; {diverged}."
        )
    widths = f"from {_width(twin.stable)} to {_width(arm.stable)}"
    return (
        f"Clipping ({arm.clip}) {_verb(twin.stable, arm.stable)} the stable range of {twin.arm} {widths}; {diverged}."
    )


def _verb(before: Range, after: Range) -> str:
    """Return "widens", "narrows" or, if a range reaches the end of the grid so that its width is unknown, "takes"."""
    difference = after.decades - before.decades
    if before.open or after.open or math.isclose(difference, 0, abs_tol=0.01):
        return "takes"
    return "widens" if difference > 0 else "narrows"


def _range(arm: ArmStability) -> str:
    return f"at {_width(arm.stable)}" if arm.stable else "at no learning rate of the grid"


def _width(stable: Range) -> str:
    if stable.low == stable.high:
        return f"{setting(stable.low)} alone"
    at_least = "at least " if stable.open else ""
    return f"{at_least}{stable.decades:.1f} decades ({setting(stable.low)} to {setting(stable.high)})"


def _notes(arms: Sequence[ArmStability]) -> list[str]:
    notes: list[str] = []
    steps = sorted(
        {round(math.log10(after.lr / before.lr), 2) for arm in arms for before, after in pairwise(arm.points)}
    )
    if steps:
        notes.append(
            f"The ends of a range are known only to the grid's step, {steps[-1]:g} decades, and only for these seeds."
        )
    notes += [
        f"{arm.arm}: {count(arm.stable.gaps, 'learning rate')} between the ends of its range "
        f"{'is' if arm.stable.gaps == 1 else 'are'} not stable."
        for arm in arms
        if arm.stable and arm.stable.gaps
    ]
    ends = [arm.arm for arm in arms if arm.stable and arm.stable.open_high]
    if ends:
        notes.append(
            f"The stable range of {join_with_and(ends)} reaches the grid's largest learning rate: widen the grid with "
            "--lrs."
        )
    unstable = [arm.arm for arm in arms if arm.stable is None]
    if unstable:
        notes.append(
            f"No learning rate of the grid is stable for {join_with_and(unstable)}: widen the grid with --lrs, or "
            "train longer with --epochs."
        )
    return notes


def _points_csv(arms: Sequence[ArmStability]) -> str:
    """Return one row per arm and learning rate. Shares and accuracies are fractions of 1."""
    return as_csv(
        [
            {"arm": arm.arm, "clip": arm.clip, "threshold": arm.threshold, **asdict(point)}
            for arm in arms
            for point in arm.points
        ]
    )


def _ranges_csv(arms: Sequence[ArmStability]) -> str:
    """Return one row per arm. Its range is empty if no learning rate is stable."""
    return as_csv(
        [
            {
                "arm": arm.arm,
                "clip": arm.clip,
                "threshold": arm.threshold,
                "best_lr": arm.best,
                "low": arm.stable.low if arm.stable else None,
                "high": arm.stable.high if arm.stable else None,
                "open_low": arm.stable.open_low if arm.stable else None,
                "open_high": arm.stable.open_high if arm.stable else None,
                "gaps": arm.stable.gaps if arm.stable else None,
                "decades": arm.stable.decades if arm.stable else None,
            }
            for arm in arms
        ]
    )
