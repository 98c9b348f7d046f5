"""The theory page as one HTML file, and its figures as Plotly JSON for use on other pages."""

import json
from collections.abc import Sequence
from pathlib import Path

from steadystep.lab.counted import count
from steadystep.lab.figure import Figure
from steadystep.lab.report.files import write_files
from steadystep.lab.report.html import plot_data, render_page
from steadystep.lab.report.mathematics import mathematics
from steadystep.lab.theory.run import Outcome

KINDS = {"holds": "better", "refuted": "worse", "needs an assumption": "equivalent", "unsettled": "undecided"}
"""The CSS class of each status, which gives it its colour in page.css."""


def theory_page(outcomes: Sequence[Outcome], figures: Sequence[Figure]) -> str:
    """Return a page with the statement, source, findings and figure of every claim."""
    return render_page(
        "theory.html.j2",
        figures,
        outcomes=outcomes,
        claims=count(len(outcomes), "claim"),
        kinds=KINDS,
        mathematics=mathematics,
    )


def write_theory(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Write theory.html, theory.json with all findings, and ID.json for each figure, and return their paths.

    The JSON of a figure has the keys "title" and "caption", and "data" and "layout" for Plotly. Its background is
    transparent, and text and grid take the colours of the page that shows it.

    Raises:
        StoreError: if the folder cannot be written; the message is one line.
    """
    figures = [outcome.evidence.figure() for outcome in outcomes if outcome.evidence.figure]
    files = {
        "theory.html": theory_page(outcomes, figures),
        "theory.json": json.dumps([outcome.data for outcome in outcomes], indent=2) + "\n",
        **{f"{figure.id}.json": _embeddable(figure) for figure in figures},
    }
    return write_files(folder, files)


def _embeddable(figure: Figure) -> str:
    about = {"id": figure.id, "title": figure.title, "caption": figure.caption}
    return json.dumps(about | plot_data(figure), separators=(",", ":")) + "\n"
