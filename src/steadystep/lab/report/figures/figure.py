"""Parts shared by several figures of a report: escaped text, the target line, the axis of epochs."""

import math
from html import escape
from itertools import count
from typing import Any

from plotly import graph_objects as go

from steadystep.lab.figure import NEUTRAL
from steadystep.lab.report.cells import percent
from steadystep.lab.report.figures.accuracy_axis import AccuracyAxis
from steadystep.lab.report.printable import printable


def text(name: str) -> str:
    """Escape a user's text for Plotly, which interprets a subset of HTML and, in hover texts, %{...}.

    >>> text("<b>50%")
    '&lt;b&gt;50&#37;'
    """
    return escape(printable(name), quote=False).replace("%", "&#37;")


def add_target(plot: go.Figure, axis: AccuracyAxis, target: float) -> None:
    """Draw a dotted line at the target accuracy."""
    place = axis.place(target)
    plot.add_hline(y=place, line={"color": NEUTRAL, "dash": "dot", "width": 1.5})
    plot.add_annotation(
        text=f"target {percent(target, 1)}%",
        # Above the left end of the line, because curves start below it and may end on either side.
        x=0,
        xref="paper",
        xanchor="left",
        # On a logarithmic axis, Plotly expects the logarithm of the position for annotations, but not for lines.
        y=math.log10(place),
        yanchor="bottom",
        showarrow=False,
    )


def epoch_axis(epochs: int) -> dict[str, Any]:
    """Return the layout of an axis of whole epochs from 1.

    >>> epoch_axis(15)["tickvals"]
    [1, 2, 4, 6, 8, 10, 12, 14]
    """
    step = next(step for power in count() for step in (10**power, 2 * 10**power, 5 * 10**power) if epochs <= 8 * step)
    return {"range": [0.7, epochs + 0.3], "tickvals": sorted({1, *range(step, epochs + 1, step)})}
