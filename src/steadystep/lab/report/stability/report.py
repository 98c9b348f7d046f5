"""The document of a learning rate sweep: the answer, the figure, the tables and the CSV files."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise

from steadystep.lab.counted import count, measure
from steadystep.lab.report.cells import join_with_and, margin, settings_range, signed
from steadystep.lab.report.document import Document, Section
from steadystep.lab.report.sheets import as_csv
from steadystep.lab.report.stability.figure import sweep_figure
from steadystep.lab.report.stability.tables import (
    ranges_table,
    rates_table,
    sensitivity_table,
    sweep_table,
    tolerances_table,
)
from steadystep.lab.report.tables import machines_table
from steadystep.lab.stability.run import SweepResults
from steadystep.lab.stability.summary import WITHIN, ArmStability, Range, summarise_sweep
from steadystep.lab.statistics.reported import FEWEST, TOO_FEW
from steadystep.lab.statistics.summary import Estimate


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
            Section("Sensitivity to the learning rate", tables=(sensitivity_table(results, arms),)),
            Section("Usable learning rates", tables=(ranges_table(arms, within), tolerances_table(arms))),
            Section(
                "Every learning rate",
                tables=tuple(
                    rates_table(results, [arm for arm in arms if arm.optimizer == optimizer])
                    for optimizer in dict.fromkeys(arm.optimizer for arm in arms)
                ),
            ),
        ),
        setting=(sweep_table(results), machines_table([run.environment for run in runs])),
        sheets={
            "stability.csv": _points_csv(arms),
            "stability_ranges.csv": _ranges_csv(arms),
            "stability_sensitivity.csv": _sensitivity_csv(arms),
        },
        command=command,
    )


def answer(arms: Sequence[ArmStability]) -> str:
    """State the effect of clipping on each optimizer's sensitivity, its usable range, and its diverged runs."""
    twins = {arm.arm: arm for arm in arms}
    clipped = [arm for arm in arms if arm.clip]
    if not clipped:
        return " ".join(
            f"The learning-rate sensitivity of {arm.arm} is {nats(arm.sensitivity.value)}; it is usable {_where(arm)}."
            for arm in arms
        )
    return " ".join(
        f"{_sensitivity(arm, twins[arm.optimizer])}; {ranges_compared(arm, twins[arm.optimizer])}; "
        f"{_divergence(arm, twins[arm.optimizer])}."
        for arm in clipped
    )


def _sensitivity(arm: ArmStability, twin: ArmStability) -> str:
    """Return the effect of clipping on the sensitivity to the learning rate."""
    change = arm.sensitivity.change
    assert change is not None, "a clipped arm is compared with its twin"
    before, after = (f"{one.sensitivity.value.mean:.3f}" for one in (twin, arm))
    what = f"the learning-rate sensitivity of {twin.arm}"
    values = f"{what} from {before} to {after} nats" if before != after else f"{what} at {after} nats"
    verb = "takes" if before != after else "leaves"
    if math.isnan(change.low):
        return f"Clipping ({arm.clip}) {verb} {values} ({TOO_FEW})"
    mean, low, high = (signed(part, 3) for part in (change.mean, change.low, change.high))
    by = f"{mean} [{low}, {high}]"
    if change.low <= 0 <= change.high:
        certainly = f"{before} nats without and {after} with it" if before != after else f"{after} nats"
        return f"Clipping ({arm.clip}) has no certain effect on {what}, {certainly} ({by})"
    if before != after:
        verb = "lowers" if change.mean < 0 else "raises"
    return f"Clipping ({arm.clip}) {verb} {values} ({by})"


def ranges_compared(arm: ArmStability, twin: ArmStability) -> str:
    """Return at which tolerances clipping widens the range of usable learning rates.

    An open end counts as the end of the grid, and an arm without a usable learning rate has the narrowest range.
    """
    widths = {tolerance: (_width(twin.ranges[tolerance]), _width(arm.ranges[tolerance])) for tolerance in arm.ranges}
    wider = [tolerance for tolerance, (before, after) in widths.items() if after > before + 1e-9]
    narrower = [tolerance for tolerance, (before, after) in widths.items() if after < before - 1e-9]
    everywhere = f"at every tolerance from {margin(min(widths))} to {measure(margin(max(widths)), 'point')}"
    subject = "the usable range"
    if not wider and not narrower:
        return f"{subject} is as wide with it as without {everywhere}"
    if len(wider) == len(widths) or len(narrower) == len(widths):
        return f"{subject} is {'wider' if wider else 'narrower'} with it {everywhere}"
    parts = [
        f"{word} with it at a tolerance of {join_with_and([margin(each) for each in some])}"
        for word, some in (("wider", wider), ("narrower", narrower))
        if some
    ]
    same = [margin(each) for each in widths if each not in wider and each not in narrower]
    if same:
        parts.append(f"as wide at {join_with_and(same)}")
    return f"{subject} is {', '.join(parts)} points"


def _width(found: Range | None) -> float:
    return -1.0 if found is None else found.decades


def nats(value: Estimate) -> str:
    """Return a sensitivity with its interval.

    >>> nats(Estimate(0.5, 0.4, 0.6)), nats(Estimate(0.5, math.nan, math.nan))
    ('0.500 [0.400, 0.600] nats', '0.500 nats')
    """
    return f"{value.mean:.3f}{f' [{value.low:.3f}, {value.high:.3f}]' if math.isfinite(value.low) else ''} nats"


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
    if arm.usable is None:
        return "at no learning rate of the grid"
    return f"{'only at' if arm.usable.low == arm.usable.high else 'over'} {_range(arm.usable)}"


def _range(usable: Range) -> str:
    """Return a range such as "1.5 decades (0.001 to 0.0316)", or its only learning rate."""
    ends = settings_range(usable.low, usable.high)
    if usable.low == usable.high:
        return f"the learning rate {ends}"
    return f"{'at least ' if usable.open else ''}{measure(decades(usable.decades), 'decade')} ({ends})"


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
            "for the seeds that were run; a comparison of ranges can be reversed at another tolerance. The sensitivity "
            "has no tolerance."
        )
    slow = [arm.arm for arm in arms if any(point.state == "slow" for point in arm.points)]
    if slow:
        notes.append(
            f"Below its best learning rate, {join_with_and(slow)} {'is' if len(slow) == 1 else 'are'} slow at some "
            "learning rates: no run diverged, but the budget ends before the accuracy is reached. That is not "
            "instability."
        )
    notes += [
        f"{arm.arm}: {count(arm.usable.gaps, 'learning rate')} between the ends of its range "
        f"{'is' if arm.usable.gaps == 1 else 'are'} not usable."
        for arm in arms
        if arm.usable and arm.usable.gaps
    ]
    ends = [arm.arm for arm in arms if arm.usable and arm.usable.open_high]
    if ends:
        notes.append(
            f"The usable range{'s' if len(ends) > 1 else ''} of {join_with_and(ends)} "
            f"{'reach' if len(ends) > 1 else 'reaches'} the grid's largest learning rate: widen the grid with --lrs."
        )
    unusable = [arm.arm for arm in arms if arm.usable is None]
    if unusable:
        notes.append(
            f"No learning rate of the grid is usable for {join_with_and(unusable)}: widen the grid with --lrs, or "
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
    """Return one row per arm and tolerance. A range is empty if no learning rate is usable."""
    return as_csv(
        [
            {
                "arm": arm.arm,
                "clip": arm.clip,
                "threshold": arm.threshold,
                "best_lr": arm.best,
                "within": tolerance,
                "low": usable.low if usable else None,
                "high": usable.high if usable else None,
                "open_low": usable.open_low if usable else None,
                "open_high": usable.open_high if usable else None,
                "gaps": usable.gaps if usable else None,
                "decades": usable.decades if usable else None,
            }
            for arm in arms
            for tolerance, usable in arm.ranges.items()
        ]
    )


def _sensitivity_csv(arms: Sequence[ArmStability]) -> str:
    """Return one row per arm, in nats; the change is that from its unclipped twin."""
    rows = []
    for arm in arms:
        value, change = arm.sensitivity.value, arm.sensitivity.change
        rows.append(
            {"arm": arm.arm, "sensitivity": value.mean, "low": value.low, "high": value.high}
            | {f"change{end}": getattr(change, part) if change else None
               for end, part in (("", "mean"), ("_low", "low"), ("_high", "high"))}
        )  # fmt: skip
    return as_csv(rows)
