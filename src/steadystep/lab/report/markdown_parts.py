"""Tables, lists and code as Markdown, with all text escaped."""

import re
from collections.abc import Iterable

from steadystep.lab.report.cells import printable
from steadystep.lab.report.tables.table import Table


def escape(text: str) -> str:
    """Text that Markdown shows as it is.

    >>> print(escape("<b>|*a*"))
    \\<b\\>\\|\\*a\\*
    """
    return re.sub(r"([\\`*_{}\[\]<>|#&~$])", r"\\\1", printable(text))


def table(given: Table) -> str:
    """A table, and the note on how to read it."""
    rows = [
        [column.heading for column in given.columns],
        *given.rows,
    ]
    lines = ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
    rule = "| " + " | ".join("---:" if column.kind == "number" else "---" for column in given.columns) + " |"
    note = [f"\n{escape(given.note)}"] if given.note else []
    return "\n".join([lines[0], rule, *lines[1:], *note])


def section(given: Table) -> list[str]:
    """A table under its title."""
    return [f"## {given.title}", table(given)]


def bullets(items: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {escape(item)}" for item in items)


def code(command: str) -> str:
    """A command in a fence that is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall("`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{command}\n{fence}"


def joined(parts: Iterable[str]) -> str:
    """A whole text of the parts that are not empty."""
    return "\n\n".join(part for part in parts if part) + "\n"
