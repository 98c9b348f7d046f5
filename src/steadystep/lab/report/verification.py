"""The table and the sentence of a verification."""

import math

from steadystep.lab.counted import count
from steadystep.lab.execution.verify import Rerun, Verification
from steadystep.lab.report.cells import NOTHING, distinct, percent, points
from steadystep.lab.report.table import Column, Table
from steadystep.lab.training.record import Record


def verification_table(verification: Verification) -> Table:
    """Return one row per trial that was run again."""
    return Table.of(
        "Trials that were run again",
        [
            Column("Arm"),
            Column("Epochs", kind="number"),
            Column("Seed", kind="number"),
            Column("Recorded", "%", "number"),
            Column("Again", "%", "number"),
            Column("Difference", "points", "number"),
            Column("Allowed", "points", "number"),
            Column("Agrees", kind="verdict"),
        ],
        [_row(rerun) for rerun in verification.reruns],
        "Test accuracy. Allowed: what another seed of the arm would explain, but at least the study's margin; no more "
        "than that where most of the other trials are identical.",
    )


def verification_words(verification: Verification) -> str:
    """Return the outcome as sentences, with both machines."""
    reruns = verification.reruns
    same, agreeing = sum(rerun.identical for rerun in reruns), sum(rerun.agrees for rerun in reruns)
    there, here = (
        distinct(f"{record.environment.processor}, torch {record.environment.torch}" for record in records)
        for records in ([rerun.recorded for rerun in reruns], [rerun.again for rerun in reruns])
    )
    outcome = "The records agree" if verification.agrees else "The records do not agree"
    shifts = [
        f"{name} {points(shift.mean)} ({100 * shift.allowed:.2f} allowed)"
        for name, shift in verification.shifts.items()
    ]
    drift = f" On average the trials end elsewhere, in points: {', '.join(shifts)}." if shifts else ""
    kind = ""
    if same < len(reruns) and all(_like(rerun.recorded) == _like(rerun.again) for rerun in reruns):
        kind = " Both have the same processor and version of torch, on which most trials come out identical."
    return (
        f"{outcome}: {agreeing} of {count(len(reruns), 'trial')} {'differs' if len(reruns) == 1 else 'differ'} by no "
        f"more than machines do, {same} identical to the last digit.{drift} Recorded on {there}; run again on {here}."
        f"{kind}"
    )


def _like(record: Record) -> tuple[str, str, str]:
    """Return what decides whether two runs round alike, as far as a record tells."""
    return record.environment.processor, record.environment.torch, record.environment.device


def _row(rerun: Rerun) -> list[str]:
    return [
        rerun.arm,
        str(rerun.budget),
        str(rerun.recorded.trial.seed),
        *(
            "diverged" if record.test_accuracy is None else percent(record.test_accuracy)
            for record in (rerun.recorded, rerun.again)
        ),
        NOTHING if math.isnan(rerun.difference) else points(rerun.difference),
        f"{100 * rerun.allowed:.2f}",
        "identical" if rerun.identical else "yes" if rerun.agrees else "no",
    ]
