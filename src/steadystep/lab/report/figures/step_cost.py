"""The figure of the optimizer's share of the time of a training step."""

from plotly import graph_objects as go

from steadystep.lab.figure import Figure, styled
from steadystep.lab.report.cells import quantity, share
from steadystep.lab.report.figures.arm_style import arm_styles
from steadystep.lab.report.headline import headline_rows
from steadystep.lab.report.timing_words import timing_note
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results

ROW = 64
"""Height of the row of an arm in pixels: its label, and the bar below it."""


def step_cost(results: Results, summary: Summary) -> Figure | None:
    """Draw a stacked bar per arm: the time of the optimizer, then that of the rest of the step."""
    rows, styles = headline_rows(results, summary), arm_styles(results)
    places, labels = list(range(len(rows))), [styles[row.arm].label for row in rows]
    plot = go.Figure()
    bars = {
        "optimizer and clipping": ([row.optimizer_ms for row in rows], 1.0),
        "batch, forward, backward": ([row.step_ms - row.optimizer_ms for row in rows], 0.3),
    }
    for name, (times, opacity) in bars.items():
        plot.add_bar(
            orientation="h",
            y=places,
            x=times,
            width=0.4,
            marker={"color": [styles[row.arm].faded(opacity) for row in rows], "line": {"width": 0}},
            customdata=labels,
            hovertemplate=f"%{{customdata}}, {name}: %{{x:.3g}} ms<extra></extra>",
        )
    # The label is above its bar, so that the bar can use the whole width of a phone.
    for place, row, label in zip(places, rows, labels, strict=True):
        part = share(row.optimizer_ms, row.step_ms)
        plot.add_annotation(
            text=f"<b>{label}</b>: {quantity(row.step_ms)} ms, optimizer {part}%",
            **{"x": 0, "y": place - 0.23, "xanchor": "left", "yanchor": "bottom", "showarrow": False, "xshift": -3},
        )
    plot.update_layout(barmode="stack", showlegend=False)
    plot.update_xaxes(title="one training step, ms", rangemode="tozero")
    plot.update_yaxes(range=[len(rows) - 0.6, -0.65], showgrid=False, showticklabels=False)
    return Figure(
        id="step-cost",
        title="Cost of a step",
        caption="Strong colour: the optimizer including clipping; pale: batch, forward and backward. Medians over runs "
        "of each run's median step." + timing_note(rows),
        plot=styled(plot, height=70 + ROW * len(rows)),
    )
