"""The tables of a report as data, for the terminal, Markdown and HTML; one table per file."""

from steadystep.lab.report.table import Column, Table
from steadystep.lab.report.tables.budgets import budgets_table
from steadystep.lab.report.tables.convergence import convergence_table, definitions
from steadystep.lab.report.tables.cost import cost_table
from steadystep.lab.report.tables.environment import environment_table, machines_table
from steadystep.lab.report.tables.results import results_table
from steadystep.lab.report.tables.study import study_table
from steadystep.lab.report.tables.tuned_settings import chosen_table, search_table
from steadystep.lab.report.tables.verdicts import verdicts_table

__all__ = [
    "Column",
    "Table",
    "budgets_table",
    "chosen_table",
    "convergence_table",
    "cost_table",
    "definitions",
    "environment_table",
    "machines_table",
    "results_table",
    "search_table",
    "study_table",
    "verdicts_table",
]
