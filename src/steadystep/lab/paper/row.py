"""A line of the audit, and its evidence looked up."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from steadystep.lab.paper.arithmetic import says
from steadystep.lab.paper.entry import Evidence, Kind, Measured, Verdict, table1
from steadystep.lab.paper.reports import read_report
from steadystep.lab.paper.results import Results
from steadystep.lab.theory import CLAIMS, Status


@dataclass(frozen=True)
class Source:
    """A piece of evidence in words, and what it refers to: a claim's id, a study's name, or nothing that runs."""

    kind: Literal["theory", "measured", "arithmetic", "citation"]
    text: str
    reference: str = ""


@dataclass(frozen=True)
class Row:
    """Something that the paper says, the verdict on it, why, and the evidence."""

    id: str
    kind: Kind
    section: str
    quote: str
    verdict: Verdict
    explanation: str
    evidence: tuple[Source, ...]

    @property
    def data(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {**vars(self), "evidence": [vars(source) for source in self.evidence]}


def look_up(evidence: Evidence, folder: Path, statuses: Mapping[str, Status]) -> Source:
    """What a piece of evidence says today."""
    if evidence.theory is not None:
        return Source("theory", f"{CLAIMS[evidence.theory].title}: {statuses[evidence.theory]}", evidence.theory)
    if evidence.measured is not None:
        return measured(folder, evidence.measured)
    if evidence.reported is not None:
        return reported(folder, evidence.reported)
    if evidence.arithmetic is not None:
        return Source("arithmetic", says(table1()))
    assert evidence.citation is not None, "evidence is one of five"
    return Source("citation", evidence.citation)


def reported(folder: Path, name: str) -> Source:
    """What a report found, in its own words, or that there is none."""
    page = folder / f"{name}.md"
    text = f"no report {page.name} in {page.parent}"
    if page.is_file():
        report = read_report(page)
        text = f"{report.title}: {report.found}"
    return Source("measured", text, page.parent.name)


def measured(folder: Path, wanted: Measured) -> Source:
    """A result in words, or that there is none."""
    results = Results(folder / wanted.study)
    text = results.says(wanted) if results.found else f"no result of {wanted.study} in {folder}"
    return Source("measured", text, wanted.study)
