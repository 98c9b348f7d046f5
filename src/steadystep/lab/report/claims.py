"""Claims of the theory in a terminal: what each check found."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from steadystep.lab.theory.claim import Finding
from steadystep.lab.theory.run import Outcome

STYLES = {"holds": "green", "refuted": "red", "needs an assumption": "yellow", "unsettled": "bold magenta"}

BEARINGS = {"stated": "", "assuming": "given the assumption: ", "instead": "instead: "}

ASCII = str.maketrans(
    {
        "±": "+/-", "−": "-", "–": "-", "✓": "+", "✗": "x", "√": "sqrt ", "²": "^2", "³": "^3", "⁴": "^4", "⁵": "^5",
        "⁶": "^6", "⁻": "^-", "·": "*", "α": "alpha", "β": "beta", "γ": "gamma", "ε": "eps", "ζ": "zeta", "λ": "lambda",
        "μ": "mu", "σ": "sigma", "Γ": "Gamma", "₁": "1", "₂": "2", "≤": "<=", "≠": "!=", "≥": ">=",
    }
)  # fmt: skip
"""For a terminal that cannot show them."""


def render(outcomes: Sequence[Outcome], console: Console, in_full: bool) -> None:
    """A table of the claims with status and evidence; or, in full, all about each."""
    if in_full:
        for outcome in outcomes:
            _tell_all(outcome, console)
        return
    table = Table(box=box.ASCII2 if _plain(console) else box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("claim", "status", "figures", "evidence"):
        table.add_column(title, no_wrap=title == "claim", overflow="fold")
    for outcome in outcomes:
        evidence = outcome.evidence
        reproduced = sum(measurement.reproduced for measurement in evidence.measurements)
        table.add_row(
            outcome.claim.id,
            Text(evidence.status, STYLES[evidence.status]),
            f"{reproduced} of {len(evidence.measurements)}" if evidence.measurements else "",
            _text(_said(outcome.decisive), console),
        )
    console.print(table)
    statuses = [outcome.evidence.status for outcome in outcomes]
    counts = ", ".join(f"{status}: {statuses.count(status)}" for status in STYLES if status in statuses)
    seconds = sum(outcome.seconds for outcome in outcomes)
    console.print(f"\n{len(outcomes)} claims in {seconds:.0f} s; {counts}.", highlight=False)
    console.print("Figures: how many of the theory's figures were reproduced, to the digits given.", highlight=False)
    console.print("`steadystep theory ID` gives a statement, its source and all findings.", highlight=False)


def _tell_all(outcome: Outcome, console: Console) -> None:
    claim, evidence = outcome.claim, outcome.evidence
    console.print(Text(f"{claim.id}: ", "bold"), Text(evidence.status, STYLES[evidence.status]), sep="")
    console.print(_text(claim.title, console))
    console.print(_text(f"\n{claim.statement}", console), soft_wrap=False)
    console.print(_text(f"\nSource: {claim.source}", console))
    for assumption in claim.assumptions:
        console.print(_text(f"Assuming: {assumption}", console))
    console.print()
    for finding in evidence.findings:
        console.print(_text(_said(finding), console))
    if evidence.measurements:
        console.print()
    for measurement in evidence.measurements:
        mark = "✓" if measurement.reproduced else "✗"
        line = f"{mark} {measurement.name}: {measurement.shown}"
        console.print(_text(line if measurement.reproduced else f"{line}, stated as {measurement.stated}", console))
    console.print(f"\nChecked in {outcome.seconds:.1f} s.\n", highlight=False)


def _said(finding: Finding) -> str:
    return f"{'✓' if finding.true else '✗'} {BEARINGS[finding.bearing]}{finding.text}"


def _plain(console: Console) -> bool:
    return console.options.ascii_only


def _text(words: str, console: Console) -> Text:
    if not _plain(console):
        return Text(words)
    return Text(words.translate(ASCII).encode("ascii", "replace").decode())
