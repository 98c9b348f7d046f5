"""A report with figures and tables that can be written as HTML, Markdown and CSV or shown in a terminal."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from steadystep.lab.figure import Figure
from steadystep.lab.report.console_table import show_table
from steadystep.lab.report.files import write_files
from steadystep.lab.report.glossary import TERMS
from steadystep.lab.report.html import render_page
from steadystep.lab.report.lines import say
from steadystep.lab.report.markdown_parts import bullets, code, escape, join_blocks, section, table_lines
from steadystep.lab.report.table import Table


@dataclass(frozen=True)
class Section:
    """A title, then figures, then tables."""

    title: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()

    @property
    def id(self) -> str:
        """The identifier of the section in the HTML page."""
        return self.title.lower().replace(" ", "-")


@dataclass(frozen=True)
class Document:
    """The content of a report, independent of its output format."""

    name: str  # the stem of the file names
    subject: str  # the name of the task
    title: str
    lede: str  # the answer, in one or two sentences
    facts: tuple[str, ...]
    notes: tuple[str, ...]  # caveats
    sections: tuple[Section, ...]
    setting: tuple[Table, ...]  # the declaration and the environment
    sheets: Mapping[str, str]  # CSV text by file name
    command: str  # the command that reproduces the results


def write_document(document: Document, folder: Path) -> list[Path]:
    """Write NAME.html, NAME.md and the sheets, each atomically; return their paths, starting with the HTML page.

    Raises:
        StoreError: if the folder cannot be written; the message is one line.
    """
    name = document.name
    return write_files(folder, {f"{name}.html": html(document), f"{name}.md": markdown(document), **document.sheets})


def html(document: Document) -> str:
    """Return the report as one self-contained HTML file; all text is escaped."""
    figures = [figure for part in document.sections for figure in part.figures]
    ids = [part.id for part in document.sections] + [figure.id for figure in figures]
    assert len(set(ids)) == len(ids), f"sections and figures of a page must have distinct ids, got {ids}"
    return render_page("document.html.j2", figures, document=document, glossary=TERMS)


def markdown(document: Document) -> str:
    """Return the report without its figures as Markdown."""
    parts = [f"# {escape(document.title)}", f"**{escape(document.lede)}**", bullets(document.facts)]
    for part in document.sections:
        if part.tables:
            parts += [f"## {part.title}", *(text for table in part.tables for text in _titled(table, part))]
    parts += ["## Notes", bullets(document.notes)] if document.notes else []
    parts += [text for table in document.setting for text in section(table)]
    return join_blocks([*parts, "## How to reproduce", code(document.command)])


def show(document: Document, console: Console) -> None:
    """Print the title, every table, the notes and the answer."""
    say(document.title, console, "bold")
    for part in document.sections:
        for table in part.tables:
            say(table.title, console, "dim")
            show_table(table, console)
    for note in document.notes:
        say(f"Note: {note}", console, "dim")
    say(document.lede, console)


def _titled(table: Table, part: Section) -> list[str]:
    """Return a table as Markdown, with a heading unless it has the same title as its section."""
    heading = [] if table.title == part.title else [f"### {escape(table.title)}"]
    return [*heading, table_lines(table)]
