"""The pages that are written from the code's own data: theory, audit, results, the optimizers, the command line."""

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
    "good": ("holds", "reproduced"),
    "bad": ("refuted", "wrong", "misattributed", "not reproduced", "implausible"),
    "partly": ("holds in part", "needs an assumption"),
    "open": ("unsettled", "not supported", "not given", "not measured", "undecided"),
}
"""The colour of every status of a claim and every verdict of the audit."""

LOOK = {word: look for look, words in LOOKS.items() for word in words}


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def badge(word: str) -> str:
    return f'<span class="badge {LOOK[word]}">{word}</span>'


def prose(text: str) -> str:
    """Text with formulas between dollar signs, as Markdown that has the same formulas and shows the rest as it is."""
    parts = text.split("$")
    return "".join(f"${part.strip()}$" if i % 2 else escape(part) for i, part in enumerate(parts))


def as_stated(value: float | None, stated: str) -> str:
    """A measured figure, rounded as the stated one is."""
    return "not finite" if value is None else Measurement("", value, stated).shown


def help_text(text: str) -> str:
    """Help on one line, as Markdown in which only code is marked."""
    return escape(" ".join(text.split())).replace("\\`", "`")


_environment.filters |= {
    "escape_markdown": escape, "prose": prose, "badge": badge, "as_stated": as_stated, "help": help_text,
}  # fmt: skip


def theory_pages(folder: Path) -> dict[str, str]:
    """A page for each claim, and one that lists them."""
    claims: list[dict[str, Any]] = json.loads((folder / "theory.json").read_text(encoding="utf-8"))
    template = _environment.get_template("claim.md.j2")
    pages = {
        f"theory/{claim['id']}.md": template.render(claim=claim, figure=_figure(folder / f"{claim['id']}.json"))
        for claim in claims
    }
    return {**pages, "theory/index.md": _environment.get_template("claims.md.j2").render(claims=claims)}


def _figure(file: Path) -> dict[str, Any] | None:
    """A figure's title, caption and Plotly JSON, which cannot end the script element that it is to stand in."""
    if not file.is_file():
        return None
    plot = file.read_text(encoding="utf-8")
    said = json.loads(plot)
    return {"caption": Markup.escape(said["caption"]), "title": Markup.escape(said["title"]),
            "json": plot.strip().replace("<", "\\u003c")}  # fmt: skip


def audit_page(theory: Path, results: Path) -> str:
    """Every row of `steadystep audit --json`, its evidence linked."""
    rows = [row.data for row in audit()]
    shown = {claim["id"] for claim in json.loads((theory / "theory.json").read_text(encoding="utf-8"))}
    kinds = dict.fromkeys(row["kind"] for row in rows)
    counts = Counter(row["verdict"] for row in rows)
    studies = {page.parent.name: page.stem for page in results.glob("*/*.md")}
    return _environment.get_template("audit.md.j2").render(
        rows=rows, kinds=kinds, counts=counts, shown=shown, studies=studies
    )


def optimizer_pages() -> dict[str, str]:
    """A page of reference for each optimizer, and one that lists them."""
    rows = [(name, (kind.__doc__ or "").splitlines()[0], kind.variants) for name, kind in OPTIMIZERS.items()]
    pages = {f"reference/optimizers/{name}.md": _reference(name, kind) for name, kind in OPTIMIZERS.items()}
    return {**pages, "reference/optimizers/index.md": _environment.get_template("optimizers.md.j2").render(rows=rows)}


def _reference(name: str, kind: type) -> str:
    return f"::: {kind.__module__}.{name}\n    options:\n      heading_level: 1\n"


def command_line_page() -> str:
    """The commands and their options, from the command line itself."""
    group = get_command(app)
    assert isinstance(group, TyperGroup), "the app has subcommands"
    return _environment.get_template("command_line.md.j2").render(commands=group.commands)
