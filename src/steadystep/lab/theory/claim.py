"""What a claim is, what its check finds, and how the findings decide its status."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from steadystep.lab.figure import Figure

Status = Literal["holds", "refuted", "needs an assumption", "unsettled"]
"""Computed, never typed. "unsettled" is a check that contradicts itself: nothing may be concluded from it."""

Bearing = Literal["stated", "assuming", "instead"]
"""What a finding tests: the statement as it stands, the statement under its assumption, or what is true instead."""


@dataclass(frozen=True)
class Finding:
    """A proposition that was tested, with the numbers that decided it. Plain text."""

    text: str
    true: bool
    bearing: Bearing = "stated"


@dataclass(frozen=True)
class Measurement:
    """A measured figure beside the one it must reproduce, to the digits in which that one is stated.

    >>> Measurement("supremum", 7.26985, "7.270").reproduced, Measurement("supremum", 7.2612, "7.27").reproduced
    (True, False)
    """

    name: str
    value: float
    stated: str

    @property
    def shown(self) -> str:
        """The measured figure, rounded as the stated one is."""
        return f"{self.value:.{len(self.stated.partition('.')[2])}f}"

    @property
    def reproduced(self) -> bool:
        return self.shown == self.stated


@dataclass(frozen=True)
class Evidence:
    """Everything that a check found. A figure is drawn when asked for."""

    findings: tuple[Finding, ...]
    measurements: tuple[Measurement, ...] = ()
    figure: Callable[[], Figure] | None = None

    @property
    def status(self) -> Status:
        """What the findings add up to.

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


Tell = Callable[[float], None]
"""Takes how much of a check is done, from 0 to 1."""


@dataclass(frozen=True)
class Claim:
    """A statement with its source and a check. Statement and assumptions hold LaTeX between dollar signs."""

    id: str
    title: str
    statement: str
    source: str
    check: Callable[[Tell], Evidence]
    assumptions: tuple[str, ...] = ()
