"""What several figures of a report share: a user's text, the target, the axis of epochs."""

import math
from html import escape
from itertools import count
from typing import Any

from plotly import graph_objects as go

from steadystep.lab.figure import NEUTRAL
from steadystep.lab.report.cells import percent, printable
from steadystep.lab.report.figures.accuracy_axis import AccuracyAxis


def text(name: str) -> str:
    """A user's text for Plotly, which reads a subset of HTML and, in hovers, fills in %{...}.

    >>> text("<b>50%")
    '&lt;b&gt;50&#37;'
    """
    return escape(printable(name), quote=False).replace("%", "&#37;")


def add_target(plot: go.Figure, axis: AccuracyAxis, target: float) -> None:
    """A dotted line at the accuracy that a task waits for."""
    place = axis.place(target)
    plot.add_hline(y=place, line={"color": NEUTRAL, "dash": "dot", "width": 1.5})
    plot.add_annotation(
        text=f"target {percent(target, 1)}%",
        # Above the line at its left end: curves start below it, and end on either side.
        x=0,
        xref="paper",
        xanchor="left",
        # Annotations take the logarithm of what they are placed at on a logarithmic axis; lines do not.
        y=math.log10(place),
        yanchor="bottom",
        showarrow=False,
    )


def epoch_axis(epochs: int) -> dict[str, Any]:
    """An axis of whole epochs, from 1.

    >>> epoch_axis(15)["tickvals"]
    [1, 2, 4, 6, 8, 10, 12, 14]
    """
    step = next(step for power in count() for step in (10**power, 2 * 10**power, 5 * 10**power) if epochs <= 8 * step)
    return {"range": [0.7, epochs + 0.3], "tickvals": sorted({1, *range(step, epochs + 1, step)})}
