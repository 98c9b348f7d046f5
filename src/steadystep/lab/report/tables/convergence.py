"""The table of convergence times according to every definition."""

from steadystep.lab.report.cells import NOTHING, p_value, percent
from steadystep.lab.report.table import Column, Table
from steadystep.lab.statistics.convergence import BUDGET_TO_TARGET, DEFINITIONS
from steadystep.lab.statistics.summary import Convergence, Summary
from steadystep.lab.study.records import Results


def convergence_table(results: Results, summary: Summary) -> Table:
    """Return one row per definition and one column per arm, with the paper's claim as the last row."""
    arms, task = [arm.name for arm in results.study.arms], results.task
    rows = [
        [
            definition.name.capitalize(),
            *(_cell(convergence_of(summary, arm, definition.name), results.study.epochs) for arm in arms),
        ]
        for definition in DEFINITIONS
    ]
    if task.claims:
        claims = [task.claims.get(arm) for arm in arms]
        rows.append(["Paper's claim", *(str(claim.epochs) if claim else NOTHING for claim in claims)])
    return Table.of(
        "Epochs to converge",
        [Column("Definition"), *(Column(arm, kind="number") for arm in arms)],
        rows,
        "Median epochs over seeds and, in brackets, the number of runs that converged. p: log-rank test against "
        f"{arms[0]}.",
        f"The median is that of Kaplan and Meier; {BUDGET_TO_TARGET} is a budget instead. p values are not adjusted."
        + (" The paper does not define its convergence time." if task.claims else ""),
    )


def definitions(results: Results) -> tuple[tuple[str, str], ...]:
    """Return the name and the statement of every definition, followed by the targets that they refer to."""
    task = results.task
    targets = f"{percent(task.target_accuracy, 1)}% validation accuracy, training loss {task.target_loss:g}"
    return (
        *((definition.name.capitalize(), definition.statement) for definition in DEFINITIONS),
        ("Targets", f"{targets}: declared with the task."),
    )


def convergence_of(summary: Summary, arm: str, definition: str) -> Convergence:
    """Return the convergence time of one arm according to one definition."""
    return next(row for row in summary.convergence if (row.arm, row.definition) == (arm, definition))


def epochs_text(row: Convergence, budget: int) -> str:
    """Return the epochs as text, or "> BUDGET" if too few runs converged within the budget."""
    return f"> {budget}" if row.epochs is None else f"{row.epochs:g}"


def _cell(row: Convergence, budget: int) -> str:
    p = "" if row.log_rank_p is None else f", p {p_value(row.log_rank_p)}"
    return f"{epochs_text(row, budget)} ({row.reached}/{row.runs}{p})"
