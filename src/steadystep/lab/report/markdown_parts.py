"""Format tables, lists and code as Markdown, with all text escaped."""

import re
from collections.abc import Iterable

from steadystep.lab.report.printable import printable
from steadystep.lab.report.table import Table


def escape(text: str) -> str:
    r"""Escape text, so that Markdown renders it literally.

    >>> print(escape("<b>|*a*"))
    \<b\>\|\*a\*
    """
    return re.sub(r"([\\`*_{}\[\]<>|#&~$])", r"\\\1", printable(text))


def table_lines(table: Table) -> str:
    """Return a table and the note below it."""
    rows = [[column.heading for column in table.columns], *table.rows]
    lines = ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
    rule = "| " + " | ".join("---:" if column.kind == "number" else "---" for column in table.columns) + " |"
    note = [f"\n{escape(table.note)}"] if table.note else []
    return "\n".join([lines[0], rule, *lines[1:], *note])


def section(table: Table) -> list[str]:
    """Return a heading with the title of the table, and the table."""
    return [f"## {table.title}", table_lines(table)]


def bullets(items: Iterable[str]) -> str:
    """Return a bullet list."""
    return "\n".join(f"- {escape(item)}" for item in items)


def code(command: str) -> str:
    """Return a command in a code fence that is longer than any run of backticks in the command."""
    longest = max((len(run) for run in re.findall("`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{command}\n{fence}"


def join_blocks(parts: Iterable[str]) -> str:
    """Return the nonempty parts as one text, separated by blank lines."""
    return "\n\n".join(part for part in parts if part) + "\n"
