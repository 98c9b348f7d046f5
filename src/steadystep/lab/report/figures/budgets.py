"""The figure of final accuracy by budget, which shows the budget needed to reach the target."""

import math

from plotly import graph_objects as go

from steadystep.lab.figure import Figure, styled
from steadystep.lab.report.cells import percent, percent_interval
from steadystep.lab.report.figures.accuracy_axis import AccuracyAxis
from steadystep.lab.report.figures.arm_style import ArmStyle, arm_styles
from steadystep.lab.report.figures.figure import add_target
from steadystep.lab.report.seeds import fewest_seeds, seeds_of_all_budgets
from steadystep.lab.statistics.convergence import BUDGET_TO_TARGET
from steadystep.lab.statistics.reported import FEWEST, TOO_FEW, accuracy_estimate
from steadystep.lab.statistics.summary import Estimate, Summary
from steadystep.lab.study.records import Results

DODGE = 1.025
"""The factor between neighbouring arms on the logarithmic axis: arms are drawn side by side at each budget."""


def budgets(results: Results, _: Summary) -> Figure | None:
    """Draw the mean and interval of every arm at every budget, and the target. A diverged run has chance accuracy."""
    study, target, chance = results.study, results.task.target_accuracy, results.task.chance
    means = {arm.name: [_mean(results, arm.name, budget) for budget in study.budgets] for arm in study.arms}
    axis = AccuracyAxis([target, *(v for row in means.values() for m in row for v in (m.low, m.mean, m.high))])
    plot = go.Figure()
    for place, (arm, style) in enumerate(arm_styles(results).items()):
        shift = DODGE ** (place - (len(study.arms) - 1) / 2)
        diverged = [sum(run.outcome == "diverged" for run in results.final[arm, budget]) for budget in study.budgets]
        plot.add_trace(
            _line(style, [budget * shift for budget in study.budgets], study.budgets, means[arm], diverged, axis)
        )
    add_target(plot, axis, target)
    first, last = math.log10(study.budgets[0]), math.log10(study.budgets[-1])
    pad = max(0.06 * (last - first), 0.1)
    plot.update_xaxes(
        title="budget, epochs (log scale)",
        type="log",
        range=[first - pad, last + pad],
        tickvals=list(study.budgets),
        ticktext=[str(budget) for budget in study.budgets],
    )
    plot.update_yaxes(axis.layout("final validation accuracy"))
    interval = "with 95% intervals as bars" if fewest_seeds(results) >= FEWEST else TOO_FEW
    return Figure(
        id="budgets",
        title="Accuracy by budget",
        caption="Every point has its own tuning and its own full schedule for that budget. "
        f"{BUDGET_TO_TARGET.capitalize()}: the leftmost budget with a mean at or above the dotted target. "
        f"{seeds_of_all_budgets(results)}, {interval}; a diverged run counts as a guess, "
        f"{percent(chance, 1)}%.",
        plot=styled(plot),
    )


def _mean(results: Results, arm: str, budget: int) -> Estimate:
    chance = results.task.chance
    return accuracy_estimate(
        [
            chance if run.outcome == "diverged" or run.val_accuracy is None else run.val_accuracy
            for run in results.final[arm, budget]
        ]
    )


def _line(
    style: ArmStyle,
    places: list[float],
    budgets: tuple[int, ...],
    means: list[Estimate],
    diverged: list[int],
    axis: AccuracyAxis,
) -> go.Scatter:
    # The axis is inverted: a lower accuracy is a larger error.
    down = [axis.place(value.low) - axis.place(value.mean) for value in means]
    up = [axis.place(value.mean) - axis.place(value.high) for value in means]
    return go.Scatter(
        name=style.label,
        x=places,
        y=axis.places([value.mean for value in means]),
        error_y={"type": "data", "array": down, "arrayminus": up, "thickness": 1.5, "width": 4},
        mode="lines+markers",
        line=style.line,
        marker=style.marker,
        customdata=[
            [budget, value.mean, percent_interval(value), number]
            for budget, value, number in zip(budgets, means, diverged, strict=True)
        ],
        hovertemplate=f"<b>{style.label}</b><br>"
        "budget %{customdata[0]}: %{customdata[1]:.2%}%{customdata[2]}, %{customdata[3]} "
        "diverged<extra></extra>",
    )
