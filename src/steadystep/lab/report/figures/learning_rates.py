"""The figure of validation accuracy and of divergence as functions of the learning rate, for each arm."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from steadystep.lab.counted import count
from steadystep.lab.figure import Figure, styled
from steadystep.lab.report.cells import setting
from steadystep.lab.report.figures.accuracy_axis import AccuracyAxis
from steadystep.lab.report.figures.arm_style import ArmStyle, arm_styles
from steadystep.lab.report.figures.log_ticks import log_ticks
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results
from steadystep.lab.training.record import Record


def learning_rates(results: Results, _: Summary) -> Figure | None:
    """Draw the tuning runs of the headline budget: their accuracy and, below it, the share of diverged runs."""
    every = [run for arm in results.study.arms for run in results.tuning[arm.name, results.study.epochs]]
    axis = AccuracyAxis([run.val_accuracy for run in every if run.val_accuracy is not None])
    plot = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.06)
    for arm, style in arm_styles(results).items():
        by_threshold: dict[float, list[Record]] = {}
        for run in results.tuning[arm, results.study.epochs]:
            by_threshold.setdefault(run.trial.clip.threshold if run.trial.clip else 0, []).append(run)
        for place, (threshold, runs) in enumerate(sorted(by_threshold.items())):
            label = f"{style.label}, threshold {setting(threshold)}" if threshold else style.label
            # The thresholds of one arm share its colour and dash. Their symbols are filled, open, and open with a dot.
            variant = replace(style, symbol=style.symbol + ("", "-open", "-open-dot")[place % 3])
            above, below = _traces(variant, label, runs, axis)
            plot.add_trace(above, row=1, col=1)
            plot.add_trace(below, row=2, col=1)
    lrs = [run.trial.lr for run in every]
    ticks = log_ticks(min(lrs) / 1.2, max(lrs) * 1.2, at_least=3)
    plot.update_xaxes(type="log", tickvals=ticks, ticktext=[setting(tick) for tick in ticks])
    plot.update_xaxes(title="learning rate (log scale)", row=2)
    plot.update_yaxes(axis.layout("validation accuracy"), row=1)
    plot.update_yaxes(title="diverged", tickformat=".0%", range=[-0.08, 1.08], tickvals=[0, 0.5, 1], row=2)
    return Figure(
        id="learning-rates",
        title="Sensitivity to the learning rate",
        caption=f"Tuning runs of {count(results.study.epochs, 'epoch')}. Above: mean validation accuracy of the "
        f"finished runs, of {count(results.study.tune_seeds, 'seed')} per setting; a ringed cross marks settings with "
        "a diverged run. Below: share of diverged runs. An optimizer with a flat, wide top is easy to tune.",
        plot=styled(plot, height=560),
    )


def _traces(style: ArmStyle, label: str, runs: Sequence[Record], axis: AccuracyAxis) -> tuple[go.Scatter, go.Scatter]:
    lrs = sorted({run.trial.lr for run in runs})
    tried = [[run for run in runs if run.trial.lr == lr] for lr in lrs]
    finished = [[run.val_accuracy for run in at_lr if run.val_accuracy is not None] for at_lr in tried]
    means = [fmean(accuracies) if accuracies else None for accuracies in finished]
    diverged = [len(at_lr) - len(done) for at_lr, done in zip(tried, finished, strict=True)]
    shared = {"x": lrs, "name": label, "legendgroup": label, "mode": "lines+markers"}
    customdata = [[number, len(at_lr)] for number, at_lr in zip(diverged, tried, strict=True)]
    hover = ", %{customdata[0]} of %{customdata[1]} diverged<extra></extra>"
    above = go.Scatter(
        **shared,
        y=axis.places(means),
        line=style.line,
        marker=style.marker | {"symbol": ["circle-x-open" if number else style.symbol for number in diverged]},
        customdata=[[*counts, mean] for counts, mean in zip(customdata, means, strict=True)],
        hovertemplate=f"<b>{label}</b><br>lr %{{x:.3g}}: %{{customdata[2]:.2%}}{hover}",
    )
    below = go.Scatter(
        **shared,
        y=[number / len(at_lr) for number, at_lr in zip(diverged, tried, strict=True)],
        line=style.line,
        marker=style.marker | {"symbol": ["x" if number else style.symbol for number in diverged], "size": 7},
        customdata=customdata,
        hovertemplate=f"<b>{label}</b><br>lr %{{x:.3g}}{hover}",
        showlegend=False,
    )
    return above, below
