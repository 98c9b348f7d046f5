"""Read the published Markdown reports of other commands."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Report:
    """The parts of a page that `lab.report.document` wrote."""

    title: str
    answer: str
    facts: tuple[str, ...]  # the numbers of arms, seeds, runs and so on
    lines: tuple[str, ...]  # the whole page


def read_report(page: Path) -> Report:
    """Return the parts of a page.

    Raises:
        OSError: if the page cannot be read.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    facts = lines[4 : lines.index("", 4)] if "" in lines[4:] else lines[4:]
    return Report(
        title=lines[0].removeprefix("# "),
        answer=lines[2].strip("*"),
        facts=tuple(fact.removeprefix("- ") for fact in facts),
        lines=tuple(lines),
    )
