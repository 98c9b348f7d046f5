"""The report of a study as one self-contained HTML file: it needs no network, server or fonts."""

from steadystep.lab.counted import count
from steadystep.lab.report.cells import seconds
from steadystep.lab.report.figures import figures
from steadystep.lab.report.glossary import GLOSSARY
from steadystep.lab.report.headline import headline
from steadystep.lab.report.html import render_page
from steadystep.lab.report.notes import notes
from steadystep.lab.report.runs import all_runs, total_seconds
from steadystep.lab.report.seeds import paired_seeds
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
    """Return the whole report. All text is escaped, and the page's security policy allows only its two scripts.

    `command` is the command that reproduces the study.
    """
    return render_page(
        "page.html.j2",
        figures(results, summary),
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
        glossary=GLOSSARY,
        command=command,
    )


def _facts(results: Results) -> tuple[str, ...]:
    study = results.study
    return (
        count(len(study.arms), "arm"),
        paired_seeds(results),
        count(len(study.budgets), "budget"),
        count(len(all_runs(results)), "training run"),
        f"{seconds(total_seconds(results))} of training",
    )
