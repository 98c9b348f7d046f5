"""A study's report as Markdown, for a repository or a pull request."""

from steadystep.lab.report.headline import headline
from steadystep.lab.report.markdown_parts import bullets, code, escape, joined, section, table
from steadystep.lab.report.notes import notes
from steadystep.lab.report.tables import (
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
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results


def markdown(results: Results, summary: Summary, command: str) -> str:
    """The whole report but its figures. `command` is what reproduces it."""
    main = results_table(results, summary)
    said = [sentence(verdict, results.task) for verdict in summary.verdicts]
    parts = [
        f"# {escape(results.task.title)}",
        f"**{escape(headline(results, summary))}**",
        f"## {main.title}",
        table(main),
        bullets(notes(results, summary)),
        "## Verdicts" if said else "",
        bullets(said),
        table(verdicts_table(results, summary)) if said else "",
        *section(budgets_table(results, summary)),
        *section(convergence_table(results, summary)),
        bullets([f"{name}: {statement}" for name, statement in definitions(results)]),
        "## Tuning",
        table(search_table(results)),
        table(chosen_table(results, summary)),
        *section(cost_table(results, summary)),
        *section(study_table(results)),
        *section(environment_table(results)),
        "## How to reproduce",
        code(command),
    ]
    return joined(parts)
