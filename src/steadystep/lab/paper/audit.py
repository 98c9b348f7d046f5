"""The audit: every judged statement with its evidence, and Table 1 compared with measured results."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import get_args

from steadystep.lab.paper.entry import Kind, entries
from steadystep.lab.paper.findings import findings
from steadystep.lab.paper.results import published_results
from steadystep.lab.paper.row import Row, find_sources
from steadystep.lab.paper.table_rows import accuracies, improvements
from steadystep.lab.theory import RECORDED, Status


def audit(results: Path | None = None, statuses: Mapping[str, Status] = RECORDED) -> tuple[Row, ...]:
    """Return all rows in the order claims, equations, citations, method, numbers.

    Args:
        results: the folder of published studies. Default: the studies in the package.
        statuses: the statuses of the claims of the theory. Default: the recorded ones.

    Raises:
        BrokenResultsError: if a study exists and cannot be read.
    """
    folder = results or published_results()
    compared = findings(folder)
    judged = [
        Row(
            entry.id,
            kind,
            entry.section,
            entry.quote,
            entry.verdict,
            entry.explanation,
            tuple(
                chain.from_iterable(find_sources(evidence, folder, statuses, compared) for evidence in entry.evidence)
            ),
        )
        for kind in get_args(Kind)
        for entry in entries(kind)
    ]
    return (*judged, *accuracies(folder), *improvements(folder))
