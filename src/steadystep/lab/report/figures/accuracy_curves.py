"""The figure of validation accuracy over the epochs of the headline budget."""

import math

from plotly import graph_objects as go

from steadystep.lab.figure import Figure, styled
from steadystep.lab.report.cells import count
from steadystep.lab.report.figures.accuracy_axis import AccuracyAxis
from steadystep.lab.report.figures.arm_style import ArmStyle, arm_styles
from steadystep.lab.report.figures.figure import add_target, epoch_axis
from steadystep.lab.statistics.convergence import DEFINITION_NAMES
from steadystep.lab.statistics.intervals import t_interval
from steadystep.lab.statistics.summary import Estimate, Summary
from steadystep.lab.study.records import Results


def accuracy_curves(results: Results, _: Summary) -> Figure | None:
    """Draw the mean over the finished runs of each arm with its interval, and the target accuracy."""
    target, budget = results.task.target_accuracy, results.study.epochs
    means = {arm.name: _means(results, arm.name) for arm in results.study.arms}
    axis = AccuracyAxis([target, *(value for curve in means.values() for mean in curve for value in _ends(mean))])
    plot = go.Figure()
    for arm, style in arm_styles(results).items():
        plot.add_traces([_band(style, means[arm], axis), _line(style, means[arm], axis)])
    add_target(plot, axis, target)
    plot.update_xaxes(epoch_axis(budget), title="epoch")
    plot.update_yaxes(axis.layout("validation accuracy"))
    plot.update_layout(hovermode="x unified")
    return Figure(
        id="accuracy-curves",
        title="Accuracy while training",
        caption=f"Mean validation accuracy of the finished runs over {count(budget, 'epoch')}; bands are 95% intervals "
        f"over seeds. {DEFINITION_NAMES['D1'].capitalize()}: when each run first reaches the dotted target. The axis "
        "is logarithmic in the error, so that 99 to 99.5% is as wide as 90 to 95%.",
        plot=styled(plot),
    )


def _means(results: Results, arm: str) -> list[Estimate]:
    runs = [run for run in results.final[arm, results.study.epochs] if run.outcome == "finished"]
    return [t_interval(values) for values in zip(*(run.curve.val_accuracy for run in runs), strict=False)]


def _ends(mean: Estimate) -> tuple[float, float, float]:
    """Return the low end, the mean and the high end, which is capped at 100% because a t interval can exceed it."""
    return mean.low, mean.mean, min(mean.high, 1.0)


def _line(style: ArmStyle, means: list[Estimate], axis: AccuracyAxis) -> go.Scatter:
    return go.Scatter(
        name=style.label,
        legendgroup=style.label,
        x=list(range(1, len(means) + 1)),
        y=axis.places([value.mean for value in means]),
        mode="lines+markers" if len(means) <= 30 else "lines",
        line=style.line,
        marker=style.marker | {"size": 6},
        customdata=[[value.mean, value.low, value.high] for value in means],
        hovertemplate="%{customdata[0]:.2%} [%{customdata[1]:.2%}, %{customdata[2]:.2%}]",
    )


def _band(style: ArmStyle, means: list[Estimate], axis: AccuracyAxis) -> go.Scatter:
    ends = [(epoch, _ends(mean)) for epoch, mean in enumerate(means, start=1) if math.isfinite(mean.low)]
    return go.Scatter(
        legendgroup=style.label,
        x=[epoch for epoch, _ in [*ends, *reversed(ends)]],
        y=axis.places([*(high for _, (_, _, high) in ends), *(low for _, (low, _, _) in reversed(ends))]),
        fill="toself",
        fillcolor=style.faded(0.2),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )
