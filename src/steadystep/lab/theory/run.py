"""Run a claim's check, and say whether it found what was recorded."""

import math
import time
from dataclasses import dataclass
from typing import Any

from steadystep.lab.theory.claim import Claim, Evidence, Finding, Status, Tell
from steadystep.lab.theory.recorded import RECORDED


@dataclass(frozen=True)
class Outcome:
    """What the check of a claim found, beside what was recorded."""

    claim: Claim
    evidence: Evidence
    recorded: Status
    seconds: float

    @property
    def as_recorded(self) -> bool:
        return self.evidence.status == self.recorded

    @property
    def news(self) -> str:
        """How the status differs from the recorded one, in a line."""
        wrong = [finding.text for finding in self.evidence.findings if not finding.true]
        missed = [
            f"{one.name} is {one.shown}, not {one.stated}" for one in self.evidence.measurements if not one.reproduced
        ]
        reasons = "; ".join([*wrong, *missed]) or "every finding holds"
        return f"{self.claim.id} was recorded as {self.recorded!r} and is now {self.evidence.status!r}: {reasons}"

    @property
    def decisive(self) -> Finding:
        """The finding that decided the status: the first against the statement, or the first of all."""
        return next((finding for finding in self.evidence.findings if not finding.true), self.evidence.findings[0])

    @property
    def data(self) -> dict[str, Any]:
        """All of it, for JSON."""
        claim, evidence = self.claim, self.evidence
        return {
            "id": claim.id,
            "title": claim.title,
            "statement": claim.statement,
            "source": claim.source,
            "assumptions": list(claim.assumptions),
            "status": evidence.status,
            "recorded": self.recorded,
            "findings": [
                {"text": finding.text, "true": bool(finding.true), "bearing": finding.bearing}
                for finding in evidence.findings
            ],
            "measurements": [
                {
                    "name": measurement.name,
                    "value": float(measurement.value) if math.isfinite(measurement.value) else None,
                    "stated": measurement.stated,
                    "reproduced": bool(measurement.reproduced),
                }
                for measurement in evidence.measurements
            ],
            "seconds": round(self.seconds, 2),
        }


def run_claim(claim: Claim, tell: Tell = lambda done: None) -> Outcome:
    """Check a claim now. `tell` hears how far it is."""
    begun = time.perf_counter()
    evidence = claim.check(tell)
    return Outcome(claim, evidence, RECORDED[claim.id], time.perf_counter() - begun)
