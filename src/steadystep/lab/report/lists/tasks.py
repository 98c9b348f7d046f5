"""The table of the tasks."""

from collections.abc import Iterable

from steadystep.lab.report.table import Column, Table
from steadystep.lab.tasks.task import Task


def tasks_table(tasks: Iterable[Task]) -> Table:
    """Return one row per task."""
    return Table.of(
        "Tasks",
        [
            Column("Task", meaning="what --task takes"),
            Column("Title", kind="prose"),
            Column("Data", kind="prose"),
            Column("Epochs", meaning="the budgets that are compared"),
            Column("Seeds", kind="number", meaning="paired runs of each arm"),
        ],
        [[task.name, task.title, task.dataset, ", ".join(map(str, task.budgets)), str(task.seeds)] for task in tasks],
    )
