"""The table and the sentence of a verification."""

import math

from steadystep.lab.counted import count
from steadystep.lab.execution.verify import Rerun, Verification
from steadystep.lab.report.cells import NOTHING, distinct, percent, points
from steadystep.lab.report.table import Column, Table


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
        "Test accuracy. Allowed: three standard deviations of the difference of two seeds, but at least the study's "
        "margin.",
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
    return (
        f"{outcome}: {agreeing} of {count(len(reruns), 'trial')} within what machines differ by, {same} of them "
        f"identical to the last digit. Recorded on {there}; run again on {here}."
    )


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
