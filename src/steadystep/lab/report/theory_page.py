"""The theory as one HTML file, and its figures as Plotly JSON for other pages."""

import json
from collections.abc import Sequence
from pathlib import Path

from plotly.io import to_json

from steadystep.lab.figure import Figure
from steadystep.lab.report.files import write_files
from steadystep.lab.report.html import rendered
from steadystep.lab.report.mathematics import mathematics
from steadystep.lab.theory.run import Outcome

KINDS = {"holds": "better", "refuted": "worse", "needs an assumption": "equivalent", "unsettled": "undecided"}
"""The colour of a status: the class that page.css gives it."""


def theory_page(outcomes: Sequence[Outcome], figures: Sequence[Figure]) -> str:
    """Statement, source, findings and figure of every claim."""
    return rendered("theory.html.j2", figures, outcomes=outcomes, kinds=KINDS, mathematics=mathematics)


def write_theory(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Write theory.html, theory.json with all findings, and ID.json for each figure. Returns what was written.

    A figure's JSON holds "title", "caption", and "data" and "layout" for Plotly, on a transparent background: text
    and grid take the colours of the page that shows it.

    Raises StoreError, in one line, where the folder cannot be written.
    """
    figures = [outcome.evidence.figure() for outcome in outcomes if outcome.evidence.figure]
    files = {
        "theory.html": theory_page(outcomes, figures),
        "theory.json": json.dumps([outcome.data for outcome in outcomes], indent=2) + "\n",
        **{f"{figure.id}.json": _embeddable(figure) for figure in figures},
    }
    return write_files(folder, files)


def _embeddable(figure: Figure) -> str:
    plot = json.loads(to_json(figure.plot, validate=False) or "{}")
    return json.dumps({"id": figure.id, "title": figure.title, "caption": figure.caption} | plot) + "\n"
