"""The `Figure` of a page (a Plotly figure with a title and a caption) and the layout that all figures share."""

from dataclasses import dataclass

from plotly import graph_objects as go

NEUTRAL = "#808080"
"""Colour of lines that do not belong to a compared arm; visible on white and on black."""

COLORS = ("#0072b2", "#d55e00", "#009e73", "#b8629a", "#8a7500", "#7f7f7f")
"""Colours of compared arms: distinct for colour-blind readers (after Okabe and Ito), with a contrast of at least 3:1 on
white and on near-black."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Figure:
    """A Plotly figure for a page.

    `id` identifies the figure within its page; `caption` explains in one or two sentences how to read it.
    """

    id: str
    title: str
    caption: str
    plot: go.Figure


def styled(plot: go.Figure, height: int = 420) -> go.Figure:
    """Apply the layout that all figures share.

    The page sets the colours of text and grid, because it knows whether it is shown in light or dark mode.
    """
    plot.update_layout(
        template="none",
        autosize=True,
        height=height,
        margin={"l": 8, "r": 12, "t": 12, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": NEUTRAL},
        # Positioned relative to the container, not to the plot area: a legend of several lines then pushes the plot up.
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
