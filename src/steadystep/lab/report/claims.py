"""Print the claims of the theory in a terminal, with the findings of each check."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from steadystep.lab.counted import count
from steadystep.lab.report.ascii import console_text
from steadystep.lab.report.console_table import show_table
from steadystep.lab.report.lines import say, say_styled
from steadystep.lab.report.lists.claims import claims_table, finding
from steadystep.lab.theory.run import Outcome

STYLES = {"holds": "green", "refuted": "red", "needs an assumption": "yellow", "unsettled": "bold magenta"}


def render(outcomes: Sequence[Outcome], console: Console, in_full: bool) -> None:
    """Print a table of the claims with their status and evidence or, if `in_full`, all details of each claim."""
    if in_full:
        for outcome in outcomes:
            _print_claim(outcome, console)
        return
    show_table(claims_table(outcomes), console, STYLES)
    statuses = [outcome.evidence.status for outcome in outcomes]
    counts = ", ".join(f"{status}: {statuses.count(status)}" for status in STYLES if status in statuses)
    seconds = sum(outcome.seconds for outcome in outcomes)
    say(f"{count(len(outcomes), 'claim')} in {seconds:.0f} s; {counts}.", console)
    say("`steadystep theory ID` prints a statement, its source and all findings.", console)


def _print_claim(outcome: Outcome, console: Console) -> None:
    claim, evidence = outcome.claim, outcome.evidence
    say_styled(Text.assemble((f"{claim.id}: ", "bold"), (evidence.status, STYLES[evidence.status])), console)
    say(claim.title, console)
    console.print(Text())
    console.print(console_text(claim.statement, console))
    console.print(Text())
    say(f"Source: {claim.source}", console)
    for assumption in claim.assumptions:
        say(f"Assuming: {assumption}", console)
    console.print(Text())
    for found in evidence.findings:
        say(finding(found), console)
    if evidence.measurements:
        console.print(Text())
    for measurement in evidence.measurements:
        mark = "✓" if measurement.reproduced else "✗"
        line = f"{mark} {measurement.name}: {measurement.shown}"
        if not measurement.reproduced:
            line += f", stated as {measurement.stated}"
        say(line, console)
    console.print(Text())
    say(f"Checked in {outcome.seconds:.1f} s.", console)
    console.print(Text())
