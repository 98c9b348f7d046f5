"""What the kept reports of other commands say: their pages in Markdown, read."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Report:
    """A page that `report.document` wrote: its title, what was found, of how many runs, and all its lines."""

    title: str
    found: str
    facts: tuple[str, ...]
    lines: tuple[str, ...]


def read_report(page: Path) -> Report:
    """The page's parts. Raises OSError where it cannot be read."""
    lines = page.read_text(encoding="utf-8").splitlines()
    facts = lines[4 : lines.index("", 4)] if "" in lines[4:] else lines[4:]
    return Report(
        title=lines[0].removeprefix("# "),
        found=lines[2].strip("*"),
        facts=tuple(fact.removeprefix("- ") for fact in facts),
        lines=tuple(lines),
    )
