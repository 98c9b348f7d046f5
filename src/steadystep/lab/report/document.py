"""A page with figures and tables, the same as Markdown, its numbers as CSV, and its essence in a terminal."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from steadystep.lab.figure import Figure
from steadystep.lab.report.ascii import shown
from steadystep.lab.report.cells import printable
from steadystep.lab.report.files import write_files
from steadystep.lab.report.html import rendered
from steadystep.lab.report.markdown_parts import bullets, code, escape, joined, section, table
from steadystep.lab.report.tables.table import Table
from steadystep.lab.report.terminal import show_table


@dataclass(frozen=True)
class Section:
    """Figures, then tables, under a title."""

    title: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()

    @property
    def id(self) -> str:
        return self.title.lower().replace(" ", "-")


@dataclass(frozen=True)
class Document:
    """What was found, to be shown in several forms."""

    name: str  # of its files
    subject: str  # the task's name
    title: str
    lede: str  # the answer, in a sentence or two
    facts: tuple[str, ...]
    notes: tuple[str, ...]  # what to beware of
    sections: tuple[Section, ...]
    setting: tuple[Table, ...]  # what was run, and on what
    sheets: Mapping[str, str]  # CSV by file name
    command: str  # what reproduces it


def write_document(document: Document, folder: Path) -> list[Path]:
    """Write NAME.html, NAME.md and the sheets, each whole or not at all. Returns what was written, the page first.

    Raises StoreError, in one line, where the folder cannot be written.
    """
    name = document.name
    return write_files(folder, {f"{name}.html": html(document), f"{name}.md": markdown(document), **document.sheets})


def html(document: Document) -> str:
    """One file that needs nothing else; all text is escaped."""
    figures = [figure for part in document.sections for figure in part.figures]
    names = [part.id for part in document.sections] + [figure.id for figure in figures]
    assert len(set(names)) == len(names), f"sections and figures of a page have names of their own, got {names}"
    return rendered("document.html.j2", figures, document=document)


def markdown(document: Document) -> str:
    """Everything but the figures."""
    parts = [f"# {escape(document.title)}", f"**{escape(document.lede)}**", bullets(document.facts)]
    for part in document.sections:
        if part.tables:
            parts += [f"## {part.title}", *(text for given in part.tables for text in _titled(given, part))]
    parts += ["## Notes", bullets(document.notes)] if document.notes else []
    parts += [text for given in document.setting for text in section(given)]
    return joined([*parts, "## How to reproduce", code(document.command)])


def show(document: Document, console: Console) -> None:
    """Title, answer, every table and note."""
    console.print(shown(printable(document.title), console, "bold"))
    for part in document.sections:
        for given in part.tables:
            console.print(shown(printable(given.title), console, "dim"))
            show_table(given, console)
    console.print(shown(printable(document.lede), console))
    for note in document.notes:
        console.print(shown(printable(f"Note: {note}"), console, "dim"))


def _titled(given: Table, part: Section) -> list[str]:
    """A table under a heading of its own, where the section's does not say the same."""
    return [table(given)] if given.title == part.title else [f"### {escape(given.title)}", table(given)]
