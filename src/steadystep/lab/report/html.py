"""Render self-contained HTML pages from the templates in this package."""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.io import to_json

from steadystep.lab.figure import Figure
from steadystep.lab.report.cells import join_with_and

PLOTLY = "plotly/plotly-basic.min.js"
"""The bundle of plotly.js in this package. It draws only the traces in `TRACES`, in a quarter of the full size."""

TRACES = ("scatter", "bar")
"""The trace types that figures may use: those of the bundle except pie charts."""


def render_page(template: str, figures: Sequence[Figure], **content: Any) -> str:
    """Render a template that extends shell.html.j2, with styles, scripts and figures inlined.

    All text is escaped, and the content security policy of the page allows only its two scripts.
    """
    scripts = [read_asset(PLOTLY), read_asset("page.js")]
    return (
        _environment()
        .get_template(template)
        .render(
            figures={figure.id: figure for figure in figures},
            style=Markup(read_asset("page.css")),
            scripts=[Markup(script) for script in scripts],
            script_hashes=[_hash(script) for script in scripts],
            plots=Markup(_plots(figures)),
            **content,
        )
    )


def render_template(template: str, **content: Any) -> str:
    """Render a template that does not extend another; all text is escaped."""
    return _environment().get_template(template).render(**content)


def read_asset(name: str) -> str:
    """Return the text of a file in this package."""
    return resources.files("steadystep.lab.report").joinpath(name).read_text(encoding="utf-8")


def plot_data(figure: Figure) -> dict[str, Any]:
    """Return the data and layout of a figure for plotly.js.

    Raises:
        ValueError: if the figure has a trace that the bundle cannot draw.
    """
    plot: dict[str, Any] = json.loads(to_json(figure.plot, validate=False) or "{}")
    unknown = sorted({trace["type"] for trace in plot["data"]} - set(TRACES))
    if unknown:
        raise ValueError(f"figure {figure.id} has traces of type {join_with_and(unknown)}; use {' or '.join(TRACES)}")
    return plot


@cache
def _environment() -> Environment:
    loader = PackageLoader("steadystep.lab.report", "")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _plots(figures: Sequence[Figure]) -> str:
    """Return the figures as JSON with "<" escaped, so that no text in it can close the script element."""
    plots = [{"id": figure.id} | plot_data(figure) for figure in figures]
    return json.dumps(plots, separators=(",", ":")).replace("<", "\\u003c")


def _hash(script: str) -> str:
    """Return the hash that identifies an inline script in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
