"""Caveats that a reader needs to interpret the results."""

from steadystep.lab.report.cells import count, percent, setting
from steadystep.lab.report.headline import headline_rows
from steadystep.lab.statistics.summary import ArmSummary, Summary
from steadystep.lab.study.records import Results
from steadystep.lab.study.spec import Arm
from steadystep.lab.tasks.task import Task


def notes(results: Results, summary: Summary) -> tuple[str, ...]:
    """Return notes about diverged runs, learning rates at the edge of the search range, and tasks without claims."""
    rows = headline_rows(results, summary)
    texts = [_diverged(row, results.task) for row in rows if row.diverged]
    texts += [
        f"{row.arm}: the chosen learning rate, {setting(row.lr)}, is the {edge(arm, row)} of those tried. "
        "A wider search may do better."
        for arm, row in zip(results.study.arms, rows, strict=True)
        if row.edge
    ]
    if not results.task.claims:
        texts.append(f"The paper makes no claim about this task's data: {results.task.dataset}.")
    return tuple(texts)


def edge(arm: Arm, row: ArmSummary) -> str:
    """Return whether the chosen learning rate is the lowest or the highest of those searched, or the only one."""
    if len(arm.lrs) == 1:
        return "only one"
    return "lowest" if row.lr == min(arm.lrs) else "highest"


def _diverged(row: ArmSummary, task: Task) -> str:
    rate = row.divergence_rate
    return (
        f"{row.arm}: {row.diverged} of {count(row.runs, 'run')} diverged (95% interval of the rate "
        f"{percent(rate.low, 0)} to {percent(rate.high, 0)}%). The accuracy is that of the finished runs; in verdicts "
        f"a diverged run counts as a guess, {percent(task.chance, 1)}%."
    )
