"""How many epochs each arm needs, by every definition."""

from steadystep.lab.report.cells import NOTHING, p_value, percent
from steadystep.lab.report.tables.table import Column, Table
from steadystep.lab.statistics.convergence import DEFINITIONS
from steadystep.lab.statistics.summary import Convergence, Summary
from steadystep.lab.study.records import Results


def convergence_table(results: Results, summary: Summary) -> Table:
    """One row a definition, one column an arm, and the paper's claim as the last row."""
    arms, task = [arm.name for arm in results.study.arms], results.task
    rows = [[d.id, *(_cell(converged(summary, arm, d.id), results.study.epochs) for arm in arms)] for d in DEFINITIONS]
    if task.claims:
        claims = [task.claims.get(arm) for arm in arms]
        rows.append(["Paper's claim", *(str(claim.epochs) if claim else NOTHING for claim in claims)])
    return Table.of(
        "Epochs to converge",
        [Column("Definition"), *(Column(arm, kind="number") for arm in arms)],
        rows,
        "Median epochs over seeds (Kaplan-Meier; D5: the budget) and, in brackets, how many runs got there. "
        f"p: log-rank test against {arms[0]}, not adjusted."
        + (" The paper does not say how it counted." if task.claims else ""),
    )


def definitions(results: Results) -> tuple[tuple[str, str], ...]:
    """Every definition's name and statement, then the targets that they wait for."""
    task = results.task
    targets = f"{percent(task.target_accuracy, 1)}% validation accuracy, training loss {task.target_loss:g}"
    return (*((d.id, d.statement) for d in DEFINITIONS), ("Targets", f"{targets}: declared with the task."))


def converged(summary: Summary, arm: str, definition: str) -> Convergence:
    """One arm's row by one definition."""
    return next(row for row in summary.convergence if (row.arm, row.definition) == (arm, definition))


def epochs(row: Convergence, budget: int) -> str:
    """Epochs as text; where too few runs got there within the budget, more than it."""
    return f"> {budget}" if row.epochs is None else f"{row.epochs:g}"


def _cell(row: Convergence, budget: int) -> str:
    p = "" if row.log_rank_p is None else f", p {p_value(row.log_rank_p)}"
    return f"{epochs(row, budget)} ({row.reached}/{row.runs}{p})"
