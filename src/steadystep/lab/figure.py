"""What a figure is: a Plotly figure with its title and how to read it; and the look that all of them share."""

from dataclasses import dataclass

from plotly import graph_objects as go

NEUTRAL = "#808080"
"""For lines that stand for nothing compared: visible on white and on black alike."""

COLORS = ("#0072b2", "#d55e00", "#009e73", "#b8629a", "#8a7500", "#7f7f7f")
"""Distinct for colour-blind readers (after Okabe and Ito), at least 3:1 in contrast on white and on near-black."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Figure:
    """`id` names it in a page; `caption` says in a sentence or two how to read it."""

    id: str
    title: str
    caption: str
    plot: go.Figure


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
