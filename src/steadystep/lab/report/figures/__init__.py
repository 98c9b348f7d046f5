"""The figures of a report as Plotly objects; one figure per file."""

from steadystep.lab.figure import Figure
from steadystep.lab.report.figures.accuracy_curves import accuracy_curves
from steadystep.lab.report.figures.budgets import budgets
from steadystep.lab.report.figures.gradient_norms import gradient_norms
from steadystep.lab.report.figures.learning_rates import learning_rates
from steadystep.lab.report.figures.paired_differences import paired_differences
from steadystep.lab.report.figures.step_cost import step_cost
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results

FIGURES = (paired_differences, accuracy_curves, budgets, learning_rates, gradient_norms, step_cost)
"""The figures in the order of the page. Each takes results and summary and returns None if there is nothing to draw."""


def figures(results: Results, summary: Summary) -> tuple[Figure, ...]:
    """Return every figure for which the study has data."""
    every = [draw(results, summary) for draw in FIGURES]
    return tuple(figure for figure in every if figure)


__all__ = ["FIGURES", "Figure", "figures"]
