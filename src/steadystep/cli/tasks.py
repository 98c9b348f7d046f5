"""`steadystep tasks`: list the tasks."""


def tasks() -> None:
    """List the tasks: data set, model, budgets and the size of each comparison."""
    from steadystep.cli.console import output
    from steadystep.lab.report.console_table import show_table
    from steadystep.lab.report.lists.tasks import tasks_table
    from steadystep.lab.tasks import TASKS

    show_table(tasks_table(TASKS.values()), output())
