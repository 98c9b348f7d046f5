"""The figure of the per-seed differences on which the verdicts are based."""

import numpy as np
from plotly import graph_objects as go

from steadystep.lab.counted import measure
from steadystep.lab.figure import NEUTRAL, Figure, styled
from steadystep.lab.report.cells import margin, points
from steadystep.lab.report.figures.arm_style import ArmStyle, arm_styles
from steadystep.lab.statistics.intervals import paired_differences as paired_differences_of
from steadystep.lab.statistics.reported import FEWEST, TOO_FEW
from steadystep.lab.statistics.summary import Summary, Verdict
from steadystep.lab.statistics.verdicts import paired_accuracies
from steadystep.lab.study.records import Results


def paired_differences(results: Results, summary: Summary) -> Figure | None:
    """Draw one row per pair of arms, with a dot per seed, the mean with its interval, and the margin as a band."""
    if not summary.verdicts:
        return None
    plot, styles, band = go.Figure(), arm_styles(results), 100 * results.task.margin
    width = measure(margin(results.task.margin), "point")
    plot.add_vrect(x0=-band, x1=band, fillcolor=NEUTRAL, opacity=0.2, line_width=0, layer="below")
    plot.add_vline(x=0, line={"color": NEUTRAL, "width": 1})
    for row, verdict in enumerate(summary.verdicts):
        plot.add_traces([_seeds(results, verdict, styles[verdict.arm], row), _mean(verdict, styles[verdict.arm], row)])
        # The label is above its row, so that the row can use the whole width of a phone.
        plot.add_annotation(
            text=f"<b>{styles[verdict.arm].label}</b> vs <b>{styles[verdict.against].label}</b>: {verdict.verdict}",
            **{"x": 0, "xref": "paper", "y": row - 0.2, "xanchor": "left", "yanchor": "bottom", "showarrow": False},
        )
    plot.update_xaxes(title="difference in test accuracy, points")
    plot.update_yaxes(range=[len(summary.verdicts) - 0.5, -0.6], showgrid=False, showticklabels=False)
    plot.update_layout(showlegend=False)
    return Figure(
        id="paired-differences",
        title="Differences by seed",
        caption="Right of zero, the first arm of the pair is better. Small dots: one seed each, with the same initial "
        "weights and data order in both arms (crosses: one of the two runs diverged and counts as a guess). Large "
        f"symbol and bar: {_interval(summary)}. Grey band: the margin of ±{width} within which arms count as "
        "equivalent.",
        plot=styled(plot, height=80 + 96 * len(summary.verdicts)),
    )


def _interval(summary: Summary) -> str:
    return "mean and 95% interval" if any(v.pairs >= FEWEST for v in summary.verdicts) else f"mean, {TOO_FEW}"


def _seeds(results: Results, verdict: Verdict, style: ArmStyle, row: int) -> go.Scatter:
    chance, budget = results.task.chance, results.study.epochs
    against = {run.trial.seed: run for run in results.final[verdict.against, budget]}
    seeds, differences, symbols = [], [], []
    for run in results.final[verdict.arm, budget]:
        seed = run.trial.seed
        if seed not in against:
            continue
        pair = paired_accuracies({seed: run}, {seed: against[seed]}, chance)
        for difference in paired_differences_of(*pair):  # empty if both runs diverged
            seeds.append(seed)
            differences.append(100 * difference)
            symbols.append("x" if "diverged" in (run.outcome, against[seed].outcome) else "circle")
    return go.Scatter(
        x=differences,
        # Spread over the row in the order of the seeds, so that equal differences do not overlap.
        y=np.linspace(row + 0.14, row + 0.38, len(seeds)).tolist(),
        mode="markers",
        marker={"color": style.faded(0.65), "size": 7, "symbol": symbols},
        customdata=seeds,
        hovertemplate="seed %{customdata}: %{x:+.2f} points<extra></extra>",
    )


def _mean(verdict: Verdict, style: ArmStyle, row: int) -> go.Scatter:
    difference = verdict.difference
    return go.Scatter(
        x=[100 * difference.mean],
        y=[row],
        error_x={
            "array": [100 * (difference.high - difference.mean)],
            "arrayminus": [100 * (difference.mean - difference.low)],
            "thickness": 3,
            "width": 7,
        },
        mode="markers",
        marker=style.marker | {"size": 12},
        hovertemplate=f"{verdict.verdict}: {points(difference.mean)} points<extra></extra>",
    )
