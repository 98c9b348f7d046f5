"""Claims, the evidence that their checks return, and how the evidence decides a claim's status."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from steadystep.lab.figure import Figure

Status = Literal["holds", "refuted", "needs an assumption", "unsettled"]
"""Computed from the evidence, never set by hand. "unsettled": the check contradicts itself and decides nothing."""

Bearing = Literal["stated", "assuming", "instead"]
"""What a finding tests: the statement as it stands, the statement under its assumption, or the corrected statement."""


@dataclass(frozen=True)
class Finding:
    """A proposition that was tested, with the numbers that decided it. `text` is plain text."""

    text: str
    true: bool
    bearing: Bearing = "stated"


@dataclass(frozen=True)
class Measurement:
    """A measured value and the stated value that it must match when rounded to the digits of the stated value.

    >>> Measurement("supremum", 7.26985, "7.270").reproduced, Measurement("supremum", 7.2612, "7.27").reproduced
    (True, False)
    """

    name: str
    value: float
    stated: str

    @property
    def shown(self) -> str:
        """The measured value, rounded to the digits of the stated value."""
        return f"{self.value:.{len(self.stated.partition('.')[2])}f}"

    @property
    def reproduced(self) -> bool:
        """Whether the rounded measured value equals the stated value."""
        return self.shown == self.stated


@dataclass(frozen=True)
class Evidence:
    """Everything that a check found. `figure` draws the figure; it is called only when the figure is needed."""

    findings: tuple[Finding, ...]
    measurements: tuple[Measurement, ...] = ()
    figure: Callable[[], Figure] | None = None

    @property
    def status(self) -> Status:
        """The status of the claim according to this evidence.

        >>> Evidence((Finding("as stated", False), Finding("with eps = 0", True, "assuming"))).status
        'needs an assumption'
        >>> Evidence((Finding("as stated", False), Finding("corrected", False, "instead"))).status
        'unsettled'
        """
        found = {
            bearing: [finding.true for finding in self.findings if finding.bearing == bearing]
            for bearing in ("stated", "assuming", "instead")
        }
        figures = all(measurement.reproduced for measurement in self.measurements)
        if not found["stated"] or not all(found["instead"]) or not all(found["assuming"]) or not figures:
            return "unsettled"
        if all(found["stated"]):
            return "holds"
        return "needs an assumption" if found["assuming"] else "refuted"


Progress = Callable[[float], None]
"""A callback that receives the completed fraction of a check, from 0 to 1."""


@dataclass(frozen=True)
class Claim:
    """A statement with its source and a check. Statement and assumptions may contain LaTeX between dollar signs."""

    id: str
    title: str
    statement: str
    source: str
    check: Callable[[Progress], Evidence]
    assumptions: tuple[str, ...] = ()
