"""A study's report as Markdown, for a repository or a pull request."""

import re

from steadystep.lab.report.cells import printable
from steadystep.lab.report.headline import headline
from steadystep.lab.report.notes import notes
from steadystep.lab.report.tables import (
    Table,
    budgets_table,
    chosen_table,
    convergence_table,
    cost_table,
    definitions,
    environment_table,
    results_table,
    search_table,
    study_table,
    verdicts_table,
)
from steadystep.lab.report.verdict_words import sentence
from steadystep.lab.study.results import Results
from steadystep.lab.study.summary import Summary


def markdown(results: Results, summary: Summary, command: str) -> str:
    """The whole report but its figures. `command` is what reproduces it."""
    main = results_table(results, summary)
    said = [sentence(verdict, results.task) for verdict in summary.verdicts]
    parts = [
        f"# {escape(results.task.title)}",
        f"**{escape(headline(results, summary))}**",
        f"## {main.title}",
        _table(main),
        _list(notes(results, summary)),
        "## Verdicts" if said else "",
        _list(said),
        _table(verdicts_table(results, summary)) if said else "",
        *_section(budgets_table(results, summary)),
        *_section(convergence_table(results, summary)),
        _list([f"{name}: {statement}" for name, statement in definitions(results)]),
        "## Tuning",
        _table(search_table(results)),
        _table(chosen_table(results, summary)),
        *_section(cost_table(results, summary)),
        *_section(study_table(results)),
        *_section(environment_table(results)),
        "## How to reproduce",
        _code(command),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is.

    >>> print(escape("<b>|*a*"))
    \\<b\\>\\|\\*a\\*
    """
    return re.sub(r"([\\`*_{}\[\]<>|#&~$])", r"\\\1", printable(text))


def _section(table: Table) -> list[str]:
    return [f"## {table.title}", _table(table)]


def _table(table: Table) -> str:
    rows = [
        [column.heading for column in table.columns],
        *table.rows,
    ]
    lines = ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
    rule = "| " + " | ".join("---:" if column.kind == "number" else "---" for column in table.columns) + " |"
    note = [f"\n{escape(table.note)}"] if table.note else []
    return "\n".join([lines[0], rule, *lines[1:], *note])


def _list(items: tuple[str, ...] | list[str]) -> str:
    return "\n".join(f"- {escape(item)}" for item in items)


def _code(command: str) -> str:
    """A fence longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall("`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{command}\n{fence}"
