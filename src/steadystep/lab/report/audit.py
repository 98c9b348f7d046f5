"""Print the audit of the paper in a terminal."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from steadystep.lab.counted import count
from steadystep.lab.paper import Row
from steadystep.lab.report.ascii import console_text
from steadystep.lab.report.lines import say, say_styled

STYLES = {
    "holds": "green", "reproduced": "green", "exceeded": "green",
    "holds in part": "cyan", "needs an assumption": "cyan",
    "not supported": "yellow", "not given": "yellow", "not measured": "yellow",
    "not comparable": "yellow", "undecided": "yellow",
    "implausible": "magenta",
    "wrong": "red", "misattributed": "red", "not reproduced": "red",
}  # fmt: skip

MEANINGS = {
    "holds in part": "some of it is supported",
    "needs an assumption": "true under a condition that is not stated",
    "not given": "the paper leaves it out",
    "misattributed": "the cited work does not say it",
    "exceeded": "the measured result is better than the stated one",
    "not measured": "no study of it is in the results",
    "not comparable": "another network than the paper's was measured",
}
"""What a verdict means, where its words alone do not say it."""

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
            say(TITLES[kind], console, "bold underline")
            console.print(Text())
        head = console_text(row.verdict, console, f"bold {STYLES[row.verdict]}")
        say_styled(head.append_text(console_text(f"  {row.id}", console, "dim")), console)
        say(f"“{row.quote}” ({row.section})", console, "italic", indent=2)
        say(row.explanation, console, indent=2)
        for source in row.evidence:
            label = f"{source.kind}, {source.reference}" if source.reference else source.kind
            say(f"- {label}: {source.text}", console, "dim", indent=2)
        console.print(Text())
    counts = Counter(row.verdict for row in rows)
    summary = ", ".join(f"{verdict}: {counts[verdict]}" for verdict in STYLES if counts[verdict])
    say(f"{count(len(rows), 'row')}; {summary}.", console)
    say(
        " ".join(f"{verdict.capitalize()}: {MEANINGS[verdict]}." for verdict in MEANINGS if counts[verdict]),
        console,
        "dim",
    )
    say("`steadystep theory ID` checks a claim again; the studies are in docs/results.", console)
