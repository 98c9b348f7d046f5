"""The figure of divergence and accuracy by learning rate, with and without clipping."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from steadystep.lab.figure import COLORS, DASHES, Figure, styled
from steadystep.lab.report.cells import over_seeds, percent, percent_interval, setting
from steadystep.lab.report.figures.accuracy_axis import AccuracyAxis
from steadystep.lab.report.figures.arm_style import SYMBOLS, ArmStyle
from steadystep.lab.report.figures.figure import text
from steadystep.lab.report.figures.log_ticks import log_ticks
from steadystep.lab.stability.run import SweepResults
from steadystep.lab.stability.summary import ArmStability, Point
from steadystep.lab.statistics.summary import Estimate

DODGE = 1.03
"""The factor between neighbouring arms on the logarithmic axis: arms are drawn side by side at each learning rate."""


def sweep_figure(results: SweepResults, arms: Sequence[ArmStability]) -> Figure:
    """Draw the share of diverged runs and, below it, the final accuracy over a shared axis of learning rates."""
    ends = [end for arm in arms for point in arm.points for end in _ends(point.accuracy)]
    axis = AccuracyAxis(ends)
    plot = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.36, 0.64], vertical_spacing=0.05)
    for place, (arm, style) in enumerate(zip(arms, _styles(arms), strict=True)):
        shift = DODGE ** (place - (len(arms) - 1) / 2)
        plot.add_trace(_divergence(arm, style, shift), row=1, col=1)
        plot.add_trace(_accuracy(arm, style, shift, axis), row=2, col=1)
    lrs = [point.lr for arm in arms for point in arm.points]
    ticks = log_ticks(min(lrs) / 1.2, max(lrs) * 1.2, at_least=3)
    plot.update_xaxes(type="log", tickvals=ticks, ticktext=[setting(tick) for tick in ticks])
    plot.update_xaxes(title="learning rate (log scale)", row=2)
    plot.update_yaxes(title="diverged runs", tickformat=".0%", range=[-0.06, 1.06], tickvals=[0, 0.5, 1], row=1)
    plot.update_yaxes(axis.layout("final validation accuracy"), row=2)
    shares = over_seeds(results.study.tune_seeds, "with 95% Wilson intervals")
    return Figure(
        id="learning-rate-sweep",
        title="Divergence and accuracy by learning rate",
        caption=f"Above: share of diverged runs, of {shares}. Below: mean final validation accuracy, with 95% t "
        "intervals if the shares have intervals; a run that did not finish counts as a guess, "
        f"{percent(results.task.chance, 1)}%. One colour per optimizer: solid without clipping, dashed with clipping. "
        "Filled symbols below are usable learning rates. Arms are drawn side by side at each learning rate.",
        plot=styled(plot, height=680),
    )


def _styles(arms: Sequence[ArmStability]) -> list[ArmStyle]:
    """Return the style of each arm: optimizers differ in colour and symbol, clippers in dash pattern."""
    optimizers = list(dict.fromkeys(arm.optimizer for arm in arms))
    clips: Mapping[str | None, int] = {
        clip: place for place, clip in enumerate(dict.fromkeys([None, *(arm.clip for arm in arms)]))
    }
    return [
        ArmStyle(
            label=text(arm.arm),
            color=COLORS[optimizers.index(arm.optimizer) % len(COLORS)],
            dash=DASHES[clips[arm.clip] % len(DASHES)],
            symbol=SYMBOLS[optimizers.index(arm.optimizer) % len(SYMBOLS)],
        )
        for arm in arms
    ]


def _divergence(arm: ArmStability, style: ArmStyle, shift: float) -> go.Scatter:
    return go.Scatter(
        x=[point.lr * shift for point in arm.points],
        y=[point.divergence.mean for point in arm.points],
        error_y=_bars(
            style,
            [point.divergence.high - point.divergence.mean for point in arm.points],
            [point.divergence.mean - point.divergence.low for point in arm.points],
        ),
        name=style.label,
        legendgroup=style.label,
        showlegend=False,
        mode="lines+markers",
        line=style.line,
        marker=style.marker | {"size": 6},
        customdata=[[point.lr, point.diverged, point.runs] for point in arm.points],
        hovertemplate=f"<b>{style.label}</b><br>lr %{{customdata[0]:.3g}}: "
        "%{customdata[1]} of %{customdata[2]} diverged<extra></extra>",
    )


def _accuracy(arm: ArmStability, style: ArmStyle, shift: float, axis: AccuracyAxis) -> go.Scatter:
    means = [point.accuracy.mean for point in arm.points]
    ends = [_ends(point.accuracy) for point in arm.points]
    hollow = replace(style, symbol=f"{style.symbol}-open")
    symbols = [(style if point.state == "usable" else hollow).symbol for point in arm.points]
    return go.Scatter(
        x=[point.lr * shift for point in arm.points],
        y=axis.places(means),
        # The axis is inverted: a lower accuracy is a larger error.
        error_y=_bars(
            style,
            [axis.place(low) - axis.place(mean) for mean, (low, _) in zip(means, ends, strict=True)],
            [axis.place(mean) - axis.place(high) for mean, (_, high) in zip(means, ends, strict=True)],
        ),
        name=style.label,
        legendgroup=style.label,
        mode="lines+markers",
        line=style.line,
        marker=style.marker | {"symbol": symbols},
        customdata=[_hover_values(point) for point in arm.points],
        hovertemplate=f"<b>{style.label}</b><br>lr %{{customdata[0]:.3g}}: %{{customdata[1]:.2%}} "
        "%{customdata[2]}%{customdata[3]}<extra></extra>",
    )


def _bars(style: ArmStyle, up: list[float], down: list[float]) -> dict[str, object]:
    return {
        "type": "data", "array": up, "arrayminus": down, "thickness": 1.2, "width": 3, "color": style.faded(0.6),
    }  # fmt: skip


def _ends(value: Estimate) -> tuple[float, float]:
    """Return the ends of the interval, or twice the mean if there is no interval."""
    return (value.mean, value.mean) if math.isnan(value.low) else (value.low, value.high)


def _hover_values(point: Point) -> list[float | str]:
    return [point.lr, point.accuracy.mean, percent_interval(point.accuracy), f", {point.state}"]
