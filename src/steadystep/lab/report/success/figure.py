"""Success by sequence length for every arm, as a Plotly figure and as an SVG picture."""

from collections.abc import Callable, Sequence

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from steadystep.lab.figure import COLORS, DASHES, Figure, styled
from steadystep.lab.report.cells import over_seeds
from steadystep.lab.report.figures.arm_style import SYMBOLS, ArmStyle
from steadystep.lab.report.figures.figure import text
from steadystep.lab.report.html import render_template
from steadystep.lab.statistics.summary import Estimate
from steadystep.lab.success.declare import Measurement
from steadystep.lab.success.summary import Rate

DODGE = 0.012
"""The distance between neighbouring arms as a share of the axis: arms are drawn side by side at each length."""

CAPTION = "Share of runs that are right on more than 99% of 10,000 new sequences"


def success_figure(measurement: Measurement, rates: Sequence[Rate]) -> Figure:
    """Draw one panel per cell and one line per arm, with Wilson intervals."""
    return Figure(
        id="success",
        title="Success by length",
        caption=f"{CAPTION}, of {over_seeds(measurement.seeds, 'with 95% Wilson intervals')}. {_STYLE}",
        plot=_panels(measurement, rates, "successful runs", lambda rate: rate.success),
    )


def accuracy_figure(measurement: Measurement, rates: Sequence[Rate]) -> Figure:
    """Draw the share of correctly solved sequences, which distinguishes arms even if none of their runs succeeds."""
    return Figure(
        id="accuracy",
        title="Accuracy by length",
        caption=f"Share of 10,000 new sequences that are right: mean over "
        f"{over_seeds(measurement.seeds, 'with 95% t intervals')}; a diverged run counts as a guess. {_STYLE}",
        plot=_panels(measurement, rates, "right sequences", lambda rate: rate.accuracy),
    )


_STYLE = (
    "One colour per optimizer: solid without clipping, dashed with clipping. Arms are drawn side by side at each "
    "length."
)


def _panels(
    measurement: Measurement, rates: Sequence[Rate], title: str, value_of: Callable[[Rate], Estimate]
) -> go.Figure:
    cells, styles = measurement.cells, _styles(measurement)
    plot = make_subplots(
        rows=len(cells), shared_xaxes=True, vertical_spacing=0.12 / len(cells), subplot_titles=[text(c) for c in cells]
    )
    for row, cell in enumerate(cells, start=1):
        for place, (arm, style) in enumerate(styles.items()):
            line = [rate for rate in rates if (rate.cell, rate.arm) == (cell, arm)]
            trace = _line(line, style, _shift(measurement, place), value_of, legend=row == 1)
            plot.add_trace(trace, row=row, col=1)
    plot.update_xaxes(tickvals=list(measurement.lengths))
    plot.update_xaxes(title="length T of the sequences", row=len(cells))
    plot.update_yaxes(title=title, tickformat=".0%", range=[-0.04, 1.04], tickvals=[0, 0.25, 0.5, 0.75, 1])
    return styled(plot, height=180 + 260 * len(cells)).update_layout(margin_t=36)  # space for the first title


def success_picture(measurement: Measurement, rates: Sequence[Rate], title: str) -> str:
    """Return the figure of success as an SVG picture, which needs no scripts."""
    first, last = measurement.lengths[0], measurement.lengths[-1]
    lines = [
        {
            "panel": panel,
            "style": style,
            "points": [
                {"x": _along(rate.length + _shift(measurement, place), first, last), "rate": rate.success}
                for rate in rates
                if (rate.cell, rate.arm) == (cell, arm)
            ],
        }
        for panel, cell in enumerate(measurement.cells)
        for place, (arm, style) in enumerate(_styles(measurement).items())
    ]
    ticks = [(length, _along(length, first, last)) for length in measurement.lengths]
    return render_template(
        "success/picture.svg.j2",
        title=title,
        caption=CAPTION,
        cells=measurement.cells,
        styles=[(arm, style) for arm, style in _styles(measurement).items()],
        lines=lines,
        ticks=ticks,
        dashes={"solid": "none", "dash": "7 4"},
    )


def _along(length: float, first: int, last: int) -> float:
    """Return the position of a length on the axis, from 0 to 1, or 0.5 if there is only one length."""
    return (length - first) / (last - first) if last > first else 0.5


def _shift(measurement: Measurement, place: int) -> float:
    span = measurement.lengths[-1] - measurement.lengths[0]
    return DODGE * span * (place - (len(measurement.arms) - 1) / 2)


def _styles(measurement: Measurement) -> dict[str, ArmStyle]:
    """Return the style of each arm, keyed by name: optimizers differ in colour and symbol, clippers in dash pattern."""
    optimizers = list(dict.fromkeys(arm.optimizer for arm in measurement.arms))
    return {
        arm.name: ArmStyle(
            label=text(arm.name),
            color=COLORS[optimizers.index(arm.optimizer)],
            dash=DASHES[bool(arm.clip)],
            symbol=SYMBOLS[optimizers.index(arm.optimizer)],
        )
        for arm in measurement.arms
    }


def _line(
    rates: Sequence[Rate], style: ArmStyle, shift: float, value_of: Callable[[Rate], Estimate], legend: bool
) -> go.Scatter:
    values = [value_of(rate) for rate in rates]
    return go.Scatter(
        x=[rate.length + shift for rate in rates],
        y=[value.mean for value in values],
        error_y={
            "type": "data",
            "array": [value.high - value.mean for value in values],
            "arrayminus": [value.mean - value.low for value in values],
            "thickness": 1.2,
            "width": 3,
            "color": style.faded(0.6),
        },
        name=style.label,
        legendgroup=style.label,
        showlegend=legend,
        mode="lines+markers",
        line=style.line,
        marker=style.marker,
        customdata=[[rate.length, rate.succeeded, rate.runs, rate.accuracy.mean, rate.diverged] for rate in rates],
        hovertemplate=f"<b>{style.label}</b><br>T = %{{customdata[0]}}: %{{customdata[1]}} of %{{customdata[2]}} "
        "succeeded, %{customdata[3]:.1%} of sequences right, %{customdata[4]} diverged<extra></extra>",
    )
