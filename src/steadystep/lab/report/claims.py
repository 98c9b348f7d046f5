"""Print the claims of the theory in a terminal, with the findings of each check."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from steadystep.lab.report.ascii import console_text
from steadystep.lab.theory.claim import Finding
from steadystep.lab.theory.run import Outcome

STYLES = {"holds": "green", "refuted": "red", "needs an assumption": "yellow", "unsettled": "bold magenta"}

BEARINGS = {"stated": "", "assuming": "given the assumption: ", "instead": "instead: "}
"""The prefix of a finding, by its bearing on the claim."""


def render(outcomes: Sequence[Outcome], console: Console, in_full: bool) -> None:
    """Print a table of the claims with their status and evidence or, if `in_full`, all details of each claim."""
    if in_full:
        for outcome in outcomes:
            _print_claim(outcome, console)
        return
    table = Table(box=box.ASCII2 if console.options.ascii_only else box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("claim", "status", "figures", "evidence"):
        table.add_column(title, no_wrap=title == "claim", overflow="fold")
    for outcome in outcomes:
        evidence = outcome.evidence
        reproduced = sum(measurement.reproduced for measurement in evidence.measurements)
        table.add_row(
            outcome.claim.id,
            Text(evidence.status, STYLES[evidence.status]),
            f"{reproduced} of {len(evidence.measurements)}" if evidence.measurements else "",
            console_text(_finding_text(outcome.decisive), console),
        )
    console.print(table)
    statuses = [outcome.evidence.status for outcome in outcomes]
    counts = ", ".join(f"{status}: {statuses.count(status)}" for status in STYLES if status in statuses)
    seconds = sum(outcome.seconds for outcome in outcomes)
    console.print(f"\n{len(outcomes)} claims in {seconds:.0f} s; {counts}.", highlight=False)
    console.print("Figures: how many of the stated values were reproduced to the last digit.", highlight=False)
    console.print("`steadystep theory ID` prints a statement, its source and all findings.", highlight=False)


def _print_claim(outcome: Outcome, console: Console) -> None:
    claim, evidence = outcome.claim, outcome.evidence
    console.print(Text(f"{claim.id}: ", "bold"), Text(evidence.status, STYLES[evidence.status]), sep="")
    console.print(console_text(claim.title, console))
    console.print(console_text(f"\n{claim.statement}", console), soft_wrap=False)
    console.print(console_text(f"\nSource: {claim.source}", console))
    for assumption in claim.assumptions:
        console.print(console_text(f"Assuming: {assumption}", console))
    console.print()
    for finding in evidence.findings:
        console.print(console_text(_finding_text(finding), console))
    if evidence.measurements:
        console.print()
    for measurement in evidence.measurements:
        mark = "✓" if measurement.reproduced else "✗"
        line = f"{mark} {measurement.name}: {measurement.shown}"
        if not measurement.reproduced:
            line += f", stated as {measurement.stated}"
        console.print(console_text(line, console))
    console.print(f"\nChecked in {outcome.seconds:.1f} s.\n", highlight=False)


def _finding_text(finding: Finding) -> str:
    return f"{'✓' if finding.true else '✗'} {BEARINGS[finding.bearing]}{finding.text}"
