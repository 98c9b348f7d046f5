"""A row of the audit, and the lookup of its evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from steadystep.lab.paper.arithmetic import ratios_text
from steadystep.lab.paper.entry import Evidence, Kind, Measured, Verdict, table1
from steadystep.lab.paper.findings import Finding
from steadystep.lab.paper.reports import read_report
from steadystep.lab.paper.results import Results
from steadystep.lab.theory import CLAIMS, Status


@dataclass(frozen=True)
class Source:
    """A piece of evidence as text. `reference` is the id of a claim, the name of a study, or an empty string."""

    kind: Literal["theory", "measured", "arithmetic", "citation"]
    text: str
    reference: str = ""


@dataclass(frozen=True)
class Row:
    """A statement from the paper with the verdict on it, the explanation and the evidence."""

    id: str
    kind: Kind
    section: str
    quote: str
    verdict: Verdict
    explanation: str
    evidence: tuple[Source, ...]

    @property
    def data(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return {**vars(self), "evidence": [vars(source) for source in self.evidence]}


def find_sources(
    evidence: Evidence, folder: Path, statuses: Mapping[str, Status], compared: Sequence[Finding]
) -> tuple[Source, ...]:
    """Return the current content of a piece of evidence: one source, or one for each comparison on a question.

    Args:
        evidence: the piece of evidence.
        folder: the published results.
        statuses: of the claims of the theory.
        compared: every comparison in the folder.
    """
    if evidence.theory is not None:
        text = f"{CLAIMS[evidence.theory].title}: {statuses[evidence.theory]}"
        return (Source("theory", text, evidence.theory),)
    if evidence.measured is not None:
        return (result_source(folder, evidence.measured),)
    if evidence.reported is not None:
        return (report_source(folder, evidence.reported),)
    if evidence.every is not None:
        sources = tuple(
            Source("measured", found.text, found.folder)
            for found in compared
            if found.question == evidence.every.question and (found.recurrent or evidence.every.networks == "all")
        )
        return sources or (Source("measured", f"no such comparison in {folder}"),)
    if evidence.arithmetic is not None:
        return (Source("arithmetic", ratios_text(table1())),)
    assert evidence.citation is not None, "evidence has exactly one of six fields"
    return (Source("citation", evidence.citation),)


def report_source(folder: Path, name: str) -> Source:
    """Return the answer of a published report, or a note that there is no such report."""
    page = folder / f"{name}.md"
    text = f"no report {page.name} in {page.parent}"
    if page.is_file():
        report = read_report(page)
        text = f"{report.title}: {report.answer}"
    return Source("measured", text, page.parent.name)


def result_source(folder: Path, measured: Measured) -> Source:
    """Return a result as text, or a note that there is no such result."""
    results = Results(folder / measured.study)
    text = results.describe(measured) if results.exists else f"no result of {measured.study} in {folder}"
    return Source("measured", text, measured.study)
