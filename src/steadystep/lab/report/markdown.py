"""The report of a study as Markdown, for a repository or a pull request."""

from steadystep.lab.report.headline import headline
from steadystep.lab.report.markdown_parts import bullets, code, escape, join_blocks, section, table_lines
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


def markdown(results: Results, summary: Summary, command: str, glossary: str | None = None) -> str:
    """Return the whole report without its figures.

    Args:
        results: the runs of the study.
        summary: their statistics.
        command: the command that reproduces the study.
        glossary: the link to a glossary page, relative to the report. Default: no link.
    """
    main = results_table(results, summary)
    verdicts = [sentence(verdict, results.task) for verdict in summary.verdicts]
    parts = [
        f"# {escape(results.task.title)}",
        f"**{escape(headline(results, summary))}**",
        f"The terms are defined in the [glossary]({glossary})." if glossary else "",
        f"## {main.title}",
        table_lines(main),
        bullets(notes(results, summary)),
        "## Verdicts" if verdicts else "",
        bullets(verdicts),
        table_lines(verdicts_table(results, summary)) if verdicts else "",
        *section(budgets_table(results, summary)),
        *section(convergence_table(results, summary)),
        bullets([f"{name}: {statement}" for name, statement in definitions(results)]),
        "## Tuning",
        table_lines(search_table(results)),
        table_lines(chosen_table(results, summary)),
        *section(cost_table(results, summary)),
        *section(study_table(results)),
        *section(environment_table(results)),
        "## How to reproduce",
        code(command),
    ]
    return join_blocks(parts)
