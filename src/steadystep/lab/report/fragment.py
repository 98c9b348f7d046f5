"""The report of a study as a small piece of HTML for a notebook: no scripts, no figures, and styles of its own."""

from steadystep.lab.report.headline import headline
from steadystep.lab.report.html import render_template
from steadystep.lab.report.notes import notes
from steadystep.lab.report.tables import results_table
from steadystep.lab.report.verdict_words import evidence
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results
from steadystep.lab.tasks.task import Task


def fragment(results: Results, summary: Summary) -> str:
    """Return the headline, the results table, the verdicts and the notes as HTML; all text is escaped."""
    return render_template(
        "fragment.html.j2",
        task=results.task,
        headline=headline(results, summary),
        results_table=results_table(results, summary),
        verdicts=[(verdict, evidence(verdict, results.task)) for verdict in summary.verdicts],
        notes=notes(results, summary),
    )


def unfinished_fragment(task: Task, reason: str) -> str:
    """Return the title of the task and why there are no results yet, as HTML; all text is escaped."""
    return render_template("fragment.html.j2", task=task, headline=reason, results_table=None, verdicts=(), notes=())
