"""The table of the claims of the theory."""

from collections.abc import Sequence

from steadystep.lab.report.cells import NOTHING
from steadystep.lab.report.table import Column, Table
from steadystep.lab.theory.claim import Finding
from steadystep.lab.theory.run import Outcome

BEARINGS = {"stated": "", "assuming": "given the assumption: ", "instead": "instead: "}
"""The prefix of a finding, by its bearing on the claim."""


def claims_table(outcomes: Sequence[Outcome]) -> Table:
    """Return one row per claim, with its status and the finding that decided it."""
    return Table.of(
        "Claims of the theory",
        [
            Column("Claim"),
            Column("Status", kind="verdict"),
            Column("Values", meaning="how many stated values were reproduced to the last digit"),
            Column("Evidence", kind="prose", meaning="the finding that decided the status"),
        ],
        [
            [outcome.claim.id, outcome.evidence.status, _values(outcome), finding(outcome.decisive)]
            for outcome in outcomes
        ],
    )


def finding(found: Finding) -> str:
    """Return a finding as a sentence with a mark for whether it is true."""
    return f"{'✓' if found.true else '✗'} {BEARINGS[found.bearing]}{found.text}"


def _values(outcome: Outcome) -> str:
    measurements = outcome.evidence.measurements
    reproduced = sum(measurement.reproduced for measurement in measurements)
    return f"{reproduced} of {len(measurements)}" if measurements else NOTHING
