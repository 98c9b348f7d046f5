"""One HTML file that needs nothing else: what every page here shares."""

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
from plotly.offline import get_plotlyjs

from steadystep.lab.figure import Figure


def rendered(template: str, figures: Sequence[Figure], **content: Any) -> str:
    """A page from a template that extends shell.html.j2, with style, scripts and figures in it.

    All text is escaped, and the page's own policy lets no script run but its two.
    """
    scripts = [get_plotlyjs(), asset("page.js")]
    return (
        _environment()
        .get_template(template)
        .render(
            figures={figure.id: figure for figure in figures},
            style=Markup(asset("page.css")),
            scripts=[Markup(script) for script in scripts],
            script_hashes=[_hash(script) for script in scripts],
            plots=Markup(_plots(figures)),
            **content,
        )
    )


def filled(template: str, **content: Any) -> str:
    """A template that stands for itself, with this in it; all text is escaped."""
    return _environment().get_template(template).render(**content)


def asset(name: str) -> str:
    return resources.files("steadystep.lab.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    loader = PackageLoader("steadystep.lab.report", "")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _plots(drawn: Sequence[Figure]) -> str:
    """The figures as JSON that cannot end the script element it stands in."""
    plots = [{"id": figure.id} | json.loads(to_json(figure.plot, validate=False) or "{}") for figure in drawn]
    return json.dumps(plots).replace("<", "\\u003c")


def _hash(script: str) -> str:
    """What a content security policy knows an inline script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
