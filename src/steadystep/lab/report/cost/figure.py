"""The figure of the time that every optimizer and clipper takes, as horizontal bars."""

from collections.abc import Sequence

from plotly import graph_objects as go

from steadystep.lab.cost.measure import CostResults
from steadystep.lab.cost.summary import CostSummary
from steadystep.lab.counted import count
from steadystep.lab.figure import COLORS, NEUTRAL, Figure, styled
from steadystep.lab.report.cells import percent, quantity

ROW = 26
"""Height of the row of an arm in pixels."""


def cost_figure(results: CostResults, rows: Sequence[CostSummary]) -> Figure:
    """Draw one bar per arm, with the median time, its interquartile range, and its share of the training step."""
    plot = go.Figure()
    for name, color, members in (
        ("without clipping", COLORS[0], [row for row in rows if not row.arm.clip]),
        ("with a clipper", COLORS[1], [row for row in rows if row.arm.clip]),
    ):
        if members:
            plot.add_trace(_bars(name, color, members))
    for row in rows:
        plot.add_annotation(
            text=f"{quantity(row.optimizer.median)} ms, {percent(row.share.median, 0)}%",
            **{"x": row.optimizer.high, "y": row.arm.name, "xanchor": "left", "showarrow": False, "xshift": 6},
        )
    plot.update_xaxes(title="optimizer and clipping, ms per step", rangemode="tozero")
    # Leave space for the labels beyond the longest bar.
    plot.update_xaxes(range=[0, 1.4 * max(row.optimizer.high for row in rows)])
    plot.update_yaxes(
        categoryorder="array", categoryarray=[row.arm.name for row in reversed(rows)], showgrid=False, ticksuffix=" "
    )
    machine = results.environment
    threads = f"{count(machine.threads, 'thread')} on {count(machine.cores, 'core')}"
    return Figure(
        id="optimizer-cost",
        title="Time of the optimizer in a training step",
        caption=f"Median over {count(results.rounds, 'round')} with the interquartile range, and the median share of "
        f"the whole step. {machine.processor}, {threads}; the "
        "arms took turns in one process.",
        plot=styled(plot, height=110 + ROW * len(rows)),
    )


def _bars(name: str, color: str, rows: Sequence[CostSummary]) -> go.Bar:
    times = [row.optimizer for row in rows]
    return go.Bar(
        name=name,
        orientation="h",
        y=[row.arm.name for row in rows],
        x=[time.median for time in times],
        width=0.7,
        marker={"color": color, "line": {"width": 0}},
        error_x={
            "type": "data",
            "array": [time.high - time.median for time in times],
            "arrayminus": [time.median - time.low for time in times],
            "thickness": 1.2,
            "width": 3,
            "color": NEUTRAL,
        },
        hovertemplate="%{y}: %{x:.3g} ms<extra></extra>",
    )
