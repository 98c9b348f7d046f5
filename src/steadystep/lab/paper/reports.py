"""Read the published Markdown reports of other commands."""

from dataclasses import dataclass
from pathlib import Path

from steadystep.lab.paper.results import BrokenResultsError


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
        BrokenResultsError: if the page cannot be read, or is not such a page.
    """
    try:
        lines = page.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BrokenResultsError(f"cannot read {page}: {reason}") from error
    if len(lines) < 3 or not lines[0].startswith("# "):
        raise BrokenResultsError(f"{page} is not a report: it has no title and answer at its beginning")
    facts = lines[4 : lines.index("", 4)] if "" in lines[4:] else lines[4:]
    return Report(
        title=lines[0].removeprefix("# "),
        answer=lines[2].strip("*"),
        facts=tuple(fact.removeprefix("- ") for fact in facts),
        lines=tuple(lines),
    )
