"""What a figure of a report is: a Plotly figure with its title and how to read it."""

import math
from dataclasses import dataclass
from html import escape
from itertools import count
from typing import Any

from plotly import graph_objects as go

from steadystep.lab.report.cells import percent, printable
from steadystep.lab.report.figures.accuracy_axis import AccuracyAxis

NEUTRAL = "#808080"
"""For lines that belong to no arm: visible on white and on black alike."""


@dataclass(frozen=True)
class Figure:
    """`id` names it in a page; `caption` says in a sentence or two how to read it."""

    id: str
    title: str
    caption: str
    plot: go.Figure


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
        # Below the line at its right end, where curves have mostly risen above it.
        x=1,
        xref="paper",
        xanchor="right",
        # Annotations take the logarithm of what they are placed at on a logarithmic axis; lines do not.
        y=math.log10(place),
        yanchor="top",
        showarrow=False,
    )


def epoch_axis(epochs: int) -> dict[str, Any]:
    """An axis of whole epochs, from 1.

    >>> epoch_axis(15)["tickvals"]
    [1, 2, 4, 6, 8, 10, 12, 14]
    """
    step = next(step for power in count() for step in (10**power, 2 * 10**power, 5 * 10**power) if epochs <= 8 * step)
    return {"range": [0.7, epochs + 0.3], "tickvals": sorted({1, *range(step, epochs + 1, step)})}


def styled(plot: go.Figure, height: int = 420) -> go.Figure:
    """The look that all figures share. Colours of text and grid are the page's: it knows light from dark."""
    plot.update_layout(
        template="none",
        autosize=True,
        height=height,
        margin={"l": 8, "r": 12, "t": 12, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": NEUTRAL},
        # Measured from the figure's edge, not from the plot's, the legend pushes the plot up as it wraps.
        legend={
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "xanchor": "left",
            "itemwidth": 40,
            "bgcolor": "rgba(0,0,0,0)",
        },
        hoverlabel={"align": "left"},
        hoverdistance=60,
        modebar={"bgcolor": "rgba(0,0,0,0)"},
    )
    axis = {
        "automargin": True,
        "gridcolor": "rgba(128,128,128,0.25)",
        "zeroline": False,
        "ticks": "",
        "title": {"font": {"size": 13}, "standoff": 10},
    }
    plot.update_xaxes(**axis, showline=True, linecolor=NEUTRAL, spikethickness=1, spikecolor=NEUTRAL, spikedash="solid")
    plot.update_yaxes(**axis)
    return plot
