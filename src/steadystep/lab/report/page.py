"""The report as one HTML file that needs nothing else: no network, no server, no fonts."""

from steadystep.lab.report.cells import count, seconds
from steadystep.lab.report.figures import figures
from steadystep.lab.report.headline import headline
from steadystep.lab.report.html import rendered
from steadystep.lab.report.notes import notes
from steadystep.lab.report.runs import all_runs, total_seconds
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
from steadystep.lab.report.verdict_words import evidence
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results


def page(results: Results, summary: Summary, command: str) -> str:
    """The whole report. All text is escaped, and the page's own policy lets no script run but its two.

    `command` is what reproduces the study.
    """
    drawn = figures(results, summary)
    return rendered(
        "page.html.j2",
        drawn,
        task=results.task,
        headline=headline(results, summary),
        facts=_facts(results),
        notes=notes(results, summary),
        verdicts=[(verdict, evidence(verdict, results.task)) for verdict in summary.verdicts],
        results_table=results_table(results, summary),
        verdicts_table=verdicts_table(results, summary),
        budgets_table=budgets_table(results, summary),
        convergence_table=convergence_table(results, summary),
        definitions=definitions(results),
        search_table=search_table(results),
        chosen_table=chosen_table(results, summary),
        cost_table=cost_table(results, summary),
        study_table=study_table(results),
        environment_table=environment_table(results),
        command=command,
    )


def _facts(results: Results) -> tuple[str, ...]:
    study = results.study
    return (
        count(len(study.arms), "arm"),
        count(study.seeds, "paired seed"),
        count(len(study.budgets), "budget"),
        count(len(all_runs(results)), "training run"),
        f"{seconds(total_seconds(results))} of training",
    )
