"""Generate the pages of the site that come from the code's data: theory, audit, optimizers and command line."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from typer.core import TyperGroup
from typer.main import get_command

from steadystep.cli.app import app
from steadystep.lab.paper import audit
from steadystep.lab.report.markdown import escape
from steadystep.lab.theory import Measurement
from steadystep.optimizers import OPTIMIZERS

LOOKS = {
    "good": ("holds", "reproduced", "exceeded"),
    "bad": ("refuted", "wrong", "misattributed", "not reproduced", "implausible"),
    "partly": ("holds in part", "needs an assumption"),
    "open": ("unsettled", "not supported", "not given", "not measured", "not comparable", "undecided"),
}
"""The CSS class of every status of a claim and every verdict of the audit."""

LOOK = {word: look for look, words in LOOKS.items() for word in words}


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def badge(word: str) -> str:
    return f'<span class="badge {LOOK[word]}">{word}</span>'


def prose(text: str) -> str:
    """Convert text to Markdown: formulas between dollar signs stay formulas, all other text is escaped."""
    parts = text.split("$")
    return "".join(f"${part.strip()}$" if i % 2 else escape(part) for i, part in enumerate(parts))


def as_stated(value: float | None, stated: str) -> str:
    """Return a measured value, rounded to the digits of the stated value."""
    return "not finite" if value is None else Measurement("", value, stated).shown


def help_text(text: str) -> str:
    """Return a help text on one line, as Markdown in which only code is marked up."""
    return escape(" ".join(text.split())).replace("\\`", "`")


_environment.filters |= {
    "escape_markdown": escape, "prose": prose, "badge": badge, "as_stated": as_stated, "help": help_text,
}  # fmt: skip


def theory_pages(folder: Path) -> dict[str, str]:
    """Return a page for each claim and a page that lists them."""
    claims: list[dict[str, Any]] = json.loads((folder / "theory.json").read_text(encoding="utf-8"))
    template = _environment.get_template("claim.md.j2")
    pages = {
        f"theory/{claim['id']}.md": template.render(claim=claim, figure=_figure(folder / f"{claim['id']}.json"))
        for claim in claims
    }
    return {**pages, "theory/index.md": _environment.get_template("claims.md.j2").render(claims=claims)}


def _figure(file: Path) -> dict[str, Any] | None:
    """Return the title, caption and Plotly JSON of a figure, escaped so that it cannot close a script element."""
    if not file.is_file():
        return None
    plot = file.read_text(encoding="utf-8")
    figure = json.loads(plot)
    return {"caption": Markup.escape(figure["caption"]), "title": Markup.escape(figure["title"]),
            "json": plot.strip().replace("<", "\\u003c")}  # fmt: skip


def audit_page(theory: Path, results: Path) -> str:
    """Return a page with every row of `steadystep audit --json`, with links to the evidence."""
    rows = [row.data for row in audit()]
    shown = {claim["id"] for claim in json.loads((theory / "theory.json").read_text(encoding="utf-8"))}
    kinds = dict.fromkeys(row["kind"] for row in rows)
    counts = Counter(row["verdict"] for row in rows)
    studies = {page.parent.name: page.stem for page in results.glob("*/*.md")}
    return _environment.get_template("audit.md.j2").render(
        rows=rows, kinds=kinds, counts=counts, shown=shown, studies=studies
    )


def optimizer_pages() -> dict[str, str]:
    """Return a reference page for each optimizer and a page that lists them."""
    rows = [(name, (kind.__doc__ or "").splitlines()[0], kind.variants) for name, kind in OPTIMIZERS.items()]
    pages = {f"reference/optimizers/{name}.md": _reference(name, kind) for name, kind in OPTIMIZERS.items()}
    return {**pages, "reference/optimizers/index.md": _environment.get_template("optimizers.md.j2").render(rows=rows)}


def _reference(name: str, kind: type) -> str:
    return f"::: {kind.__module__}.{name}\n    options:\n      heading_level: 1\n"


def command_line_page() -> str:
    """Return a page with the commands and options of the command line."""
    group = get_command(app)
    assert isinstance(group, TyperGroup), "the app has subcommands"
    return _environment.get_template("command_line.md.j2").render(commands=group.commands)
