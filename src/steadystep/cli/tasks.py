"""`steadystep tasks`: list the tasks."""

from rich.console import Console
from rich.table import Table


def tasks() -> None:
    """List the tasks: data set, model, budgets and the size of each comparison."""
    from steadystep.lab.tasks import TASKS

    table = Table("task", "title", "data", "epochs", "seeds", box=None, pad_edge=False, header_style="bold")
    for task in TASKS.values():
        table.add_row(task.name, task.title, task.dataset, ", ".join(map(str, task.budgets)), str(task.seeds))
    Console().print(table)
