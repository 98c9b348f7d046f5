"""Print the audit of the paper in a terminal."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding

from steadystep.lab.paper import Row
from steadystep.lab.report.ascii import console_text

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
    """Print every row with its verdict, an explanation and the evidence, then the number of rows per verdict."""
    kind = None
    for row in rows:
        if row.kind != kind:
            kind = row.kind
            console.print(console_text(TITLES[kind], console, "bold underline"), end="\n\n")
        head = console_text(row.verdict, console, f"bold {STYLES[row.verdict]}")
        console.print(head.append_text(console_text(f"  {row.id}", console, "dim")))
        _print_indented(f"“{row.quote}” ({row.section})", console, "italic")
        _print_indented(row.explanation, console)
        for source in row.evidence:
            label = f"{source.kind}, {source.reference}" if source.reference else source.kind
            _print_indented(f"- {label}: {source.text}", console, "dim")
        console.print()
    counts = Counter(row.verdict for row in rows)
    summary = ", ".join(f"{verdict}: {counts[verdict]}" for verdict in STYLES if counts[verdict])
    console.print(console_text(f"{len(rows)} rows; {summary}.", console))
    console.print("`steadystep theory ID` checks a claim again; the studies are in docs/results.", highlight=False)


def _print_indented(text: str, console: Console, style: str = "") -> None:
    console.print(Padding(console_text(text, console, style), (0, 0, 0, 2), expand=False))
