"""The document of a learning rate sweep: the answer, the figure, the tables and the CSV files."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise

from steadystep.lab.counted import count, measure
from steadystep.lab.report.cells import join_with_and, settings_range
from steadystep.lab.report.document import Document, Section
from steadystep.lab.report.sheets import as_csv
from steadystep.lab.report.stability.figure import sweep_figure
from steadystep.lab.report.stability.tables import ranges_table, rates_table, sweep_table
from steadystep.lab.report.tables import machines_table
from steadystep.lab.stability.run import SweepResults
from steadystep.lab.stability.summary import WITHIN, ArmStability, Range, summarise_sweep
from steadystep.lab.statistics.reported import FEWEST, TOO_FEW


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
        return " ".join(f"{arm.arm} is stable {_where(arm)}." for arm in arms)
    return " ".join(
        f"{_ranges(arm, twins[arm.optimizer])}; {_divergence(arm, twins[arm.optimizer])}." for arm in clipped
    )


def _ranges(arm: ArmStability, twin: ArmStability) -> str:
    """Return the effect of clipping on the stable range."""
    before, after = twin.stable, arm.stable
    if before is None and after is None:
        return f"{twin.arm} is stable at no learning rate of the grid, with or without {arm.clip} clipping"
    if before is None or after is None:
        return f"{twin.arm} is stable {_where(twin)} without {arm.clip} clipping, and {_where(arm)} with it"
    clipping = f"Clipping ({arm.clip})"
    if (before.low, before.high) == (after.low, after.high):
        return f"{clipping} does not change the stable range of {twin.arm}, {_range(after)}"
    if before.low == before.high and after.low == after.high:
        rates = settings_range(before.low, after.low)
        return f"{clipping} moves the only stable learning rate of {twin.arm} from {rates}"
    if decades(before.decades) == decades(after.decades):
        shift = max(math.log10(after.low / before.low), math.log10(after.high / before.high), key=abs)
        by = f"{'up' if shift > 0 else 'down'} by {measure(decades(abs(shift)), 'decade')}"
        return f"{clipping} moves the stable range of {twin.arm} {by}, to {_range(after)}"
    verb = "widens" if after.decades > before.decades else "narrows"
    if before.open or after.open:  # at least one of the widths is unknown
        verb = "takes"
    return f"{clipping} {verb} the stable range of {twin.arm} from {_range(before)} to {_range(after)}"


def _divergence(arm: ArmStability, twin: ArmStability) -> str:
    """Return how many runs diverged with and without clipping."""
    (after, runs), (before, runs_before) = ((_diverged(one), _runs(one)) for one in (arm, twin))
    if runs != runs_before:
        with_it = f"{after or 'none'} of {count(runs, 'run')} diverged with it"
        return f"{with_it}, and {before or 'none'} of {runs_before:,} without"
    if before == after:
        if not after:
            return f"none of {count(runs, 'run')} diverged with it, and none without"
        return f"as many runs diverged with it as without: {after:,} of {runs:,}"
    if not after:
        return f"none of {count(runs, 'run')} diverged with it, and {before:,} without"
    if not before:
        return f"{after:,} of {count(runs, 'run')} diverged with it, and none without"
    return f"{after:,} instead of {before:,} of {count(runs, 'run')} diverged"


def _diverged(arm: ArmStability) -> int:
    return sum(point.diverged for point in arm.points)


def _runs(arm: ArmStability) -> int:
    return sum(point.runs for point in arm.points)


def _where(arm: ArmStability) -> str:
    if arm.stable is None:
        return "at no learning rate of the grid"
    return f"{'only at' if arm.stable.low == arm.stable.high else 'over'} {_range(arm.stable)}"


def _range(stable: Range) -> str:
    """Return a range such as "1.5 decades (0.001 to 0.0316)", or its only learning rate."""
    ends = settings_range(stable.low, stable.high)
    if stable.low == stable.high:
        return f"the learning rate {ends}"
    return f"{'at least ' if stable.open else ''}{measure(decades(stable.decades), 'decade')} ({ends})"


def decades(width: float) -> str:
    """Return a width in decades with one decimal, or more if it would be 0.

    >>> decades(1.0), decades(1.4999), decades(0.0123)
    ('1', '1.5', '0.012')
    """
    return f"{round(width, 1) or width:.2g}"


def _notes(arms: Sequence[ArmStability]) -> list[str]:
    notes: list[str] = []
    steps = sorted(
        {round(math.log10(after.lr / before.lr), 2) for arm in arms for before, after in pairwise(arm.points)}
    )
    if steps:
        notes.append(
            f"The ends of a range are known only to the grid's step, {measure(f'{steps[-1]:g}', 'decade')}, and only "
            "for the seeds that were run."
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
            f"The stable range{'s' if len(ends) > 1 else ''} of {join_with_and(ends)} "
            f"{'reach' if len(ends) > 1 else 'reaches'} the grid's largest learning rate: widen the grid with --lrs."
        )
    unstable = [arm.arm for arm in arms if arm.stable is None]
    if unstable:
        notes.append(
            f"No learning rate of the grid is stable for {join_with_and(unstable)}: widen the grid with --lrs, or "
            "train longer with --epochs."
        )
    seeds = min(point.runs for arm in arms for point in arm.points)
    if seeds < FEWEST:
        notes.append(f"{count(seeds, 'seed')} per learning rate: {TOO_FEW}.")
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
