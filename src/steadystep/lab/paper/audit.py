"""The audit: every judged statement with its evidence looked up, and Table 1 against what was measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from steadystep.lab.paper.entry import Kind, entries
from steadystep.lab.paper.results import published
from steadystep.lab.paper.row import Row, look_up
from steadystep.lab.paper.table_rows import accuracies, improvements
from steadystep.lab.theory import RECORDED, Status


def audit(results: Path | None = None, statuses: Mapping[str, Status] = RECORDED) -> tuple[Row, ...]:
    """Every row, in the order claims, equations, citations, method, numbers.

    Args:
        results: the folder of published studies. Default: those that come with the package.
        statuses: of the theory's claims. Default: the recorded ones.

    Raises:
        BrokenResultsError: if a study is there and cannot be read.
    """
    folder = results or published()
    judged = [
        Row(
            entry.id,
            kind,
            entry.section,
            entry.quote,
            entry.verdict,
            entry.explanation,
            tuple(look_up(evidence, folder, statuses) for evidence in entry.evidence),
        )
        for kind in get_args(Kind)
        for entry in entries(kind)
    ]
    return (*judged, *accuracies(folder), *improvements(folder))
