"""The figure of validation accuracy over the epochs of the headline budget."""

from dataclasses import dataclass
from statistics import fmean

from plotly import graph_objects as go

from steadystep.lab.counted import count
from steadystep.lab.figure import Figure, styled
from steadystep.lab.report.figures.accuracy_axis import AccuracyAxis
from steadystep.lab.report.figures.arm_style import ArmStyle, arm_styles
from steadystep.lab.report.figures.figure import add_target, epoch_axis
from steadystep.lab.statistics.convergence import EPOCHS_TO_TARGET
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results


@dataclass(frozen=True)
class Epoch:
    """The accuracies of an arm's finished runs after one epoch: their mean, the lowest and the highest."""

    mean: float
    low: float
    high: float


def accuracy_curves(results: Results, _: Summary) -> Figure | None:
    """Draw the mean over the finished runs of each arm, the band from the worst to the best run, and the target.

    The band has no interval of the mean: on a logarithmic axis of the error, one bad epoch of one run would widen it up
    to 100%, far beyond all runs.
    """
    target, budget = results.task.target_accuracy, results.study.epochs
    curves = {arm.name: _curve(results, arm.name) for arm in results.study.arms}
    axis = AccuracyAxis(
        [target, *(end for curve in curves.values() for epoch in curve for end in (epoch.low, epoch.high))]
    )
    plot = go.Figure()
    for arm, style in arm_styles(results).items():
        plot.add_traces([_band(style, curves[arm], axis), _line(style, curves[arm], axis)])
    add_target(plot, axis, target)
    plot.update_xaxes(epoch_axis(budget), title="epoch")
    plot.update_yaxes(axis.layout("validation accuracy"))
    plot.update_layout(hovermode="x unified")
    return Figure(
        id="accuracy-curves",
        title="Accuracy while training",
        caption=f"Mean validation accuracy of the finished runs over {count(budget, 'epoch')}; bands reach from the "
        f"lowest to the highest run. {EPOCHS_TO_TARGET.capitalize()}: when each run first reaches the dotted target. "
        "The axis is logarithmic in the error, so that 99 to 99.5% is as wide as 90 to 95%.",
        plot=styled(plot),
    )


def _curve(results: Results, arm: str) -> list[Epoch]:
    runs = [run for run in results.final[arm, results.study.epochs] if run.outcome == "finished"]
    by_epoch = zip(*(run.curve.val_accuracy for run in runs), strict=False)
    return [Epoch(fmean(values), min(values), max(values)) for values in by_epoch]


def _line(style: ArmStyle, curve: list[Epoch], axis: AccuracyAxis) -> go.Scatter:
    return go.Scatter(
        name=style.label,
        legendgroup=style.label,
        x=list(range(1, len(curve) + 1)),
        y=axis.places([epoch.mean for epoch in curve]),
        mode="lines+markers" if len(curve) <= 30 else "lines",
        line=style.line,
        marker=style.marker | {"size": 6},
        customdata=[[epoch.mean, epoch.low, epoch.high] for epoch in curve],
        hovertemplate="%{customdata[0]:.2%}, runs %{customdata[1]:.2%} to %{customdata[2]:.2%}",
    )


def _band(style: ArmStyle, curve: list[Epoch], axis: AccuracyAxis) -> go.Scatter:
    epochs = list(range(1, len(curve) + 1))
    return go.Scatter(
        legendgroup=style.label,
        x=[*epochs, *reversed(epochs)],
        y=axis.places([*(epoch.high for epoch in curve), *(epoch.low for epoch in reversed(curve))]),
        fill="toself",
        fillcolor=style.faded(0.2),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )
