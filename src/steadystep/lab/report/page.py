"""The report as one HTML file that needs nothing else: no network, no server, no fonts."""

import base64
import hashlib
import json
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.io import to_json
from plotly.offline import get_plotlyjs

from steadystep.lab.report.cells import count, seconds
from steadystep.lab.report.figures import Figure, figures
from steadystep.lab.report.headline import headline
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
from steadystep.lab.study.results import Results
from steadystep.lab.study.summary import Summary


def page(results: Results, summary: Summary, command: str) -> str:
    """The whole report. All text is escaped, and the page's own policy lets no script run but its two.

    `command` is what reproduces the study.
    """
    drawn = figures(results, summary)
    scripts = [get_plotlyjs(), _asset("page.js")]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("page.html.j2")).render(
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
        figures={figure.id: figure for figure in drawn},
        command=command,
        style=Markup(_asset("page.css")),
        scripts=[Markup(script) for script in scripts],
        script_hashes=[_hash(script) for script in scripts],
        plots=Markup(_plots(drawn)),
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


def _asset(name: str) -> str:
    return resources.files("steadystep.lab.report").joinpath(name).read_text(encoding="utf-8")


def _plots(drawn: tuple[Figure, ...]) -> str:
    """The figures as JSON that cannot end the script element it stands in."""
    plots = [{"id": figure.id} | json.loads(to_json(figure.plot, validate=False) or "{}") for figure in drawn]
    return json.dumps(plots).replace("<", "\\u003c")


def _hash(script: str) -> str:
    """What a content security policy knows an inline script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
