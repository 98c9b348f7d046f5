"""The audit of the paper in a terminal."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding

from steadystep.lab.paper import Row
from steadystep.lab.report.ascii import shown

STYLES = {
    "holds": "green", "reproduced": "green", "holds in part": "cyan", "needs an assumption": "cyan",
    "not supported": "yellow", "not given": "yellow", "not measured": "yellow", "undecided": "yellow",
    "implausible": "magenta",
    "wrong": "red", "misattributed": "red", "not reproduced": "red",
}  # fmt: skip

TITLES = {
    "claims": "What the paper claims",
    "equations": "Its equations",
    "citations": "Its references",
    "method": "Its method",
    "numbers": "Its numbers",
}


def render(rows: Sequence[Row], console: Console) -> None:
    """Every row with its verdict, a line of explanation and the evidence."""
    before = None
    for row in rows:
        if row.kind != before:
            console.print(shown(TITLES[row.kind], console, "bold underline"), end="\n\n")
            before = row.kind
        head = shown(row.verdict, console, f"bold {STYLES[row.verdict]}")
        console.print(head.append_text(shown(f"  {row.id}", console, "dim")))
        console.print(Padding(shown(f"“{row.quote}” ({row.section})", console, "italic"), (0, 0, 0, 2), expand=False))
        console.print(Padding(shown(row.explanation, console), (0, 0, 0, 2), expand=False))
        for source in row.evidence:
            label = f"{source.kind}, {source.reference}" if source.reference else source.kind
            console.print(Padding(shown(f"- {label}: {source.text}", console, "dim"), (0, 0, 0, 2), expand=False))
        console.print()
    counts = Counter(row.verdict for row in rows)
    summary = ", ".join(f"{verdict}: {counts[verdict]}" for verdict in STYLES if counts[verdict])
    console.print(shown(f"{len(rows)} rows; {summary}.", console))
    console.print("`steadystep theory ID` runs the check of a claim; studies are in docs/results.", highlight=False)
