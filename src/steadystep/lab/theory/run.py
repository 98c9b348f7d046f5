"""Run the check of a claim and compare its status with the recorded one."""

import math
import time
from dataclasses import dataclass
from typing import Any

from steadystep.lab.theory.claim import Claim, Evidence, Finding, Progress, Status
from steadystep.lab.theory.recorded import RECORDED


@dataclass(frozen=True)
class Outcome:
    """The evidence found for a claim, together with its recorded status."""

    claim: Claim
    evidence: Evidence
    recorded: Status
    seconds: float

    @property
    def as_recorded(self) -> bool:
        """Whether the status equals the recorded one."""
        return self.evidence.status == self.recorded

    @property
    def status_change(self) -> str:
        """One line that states how and why the status differs from the recorded one."""
        wrong = [finding.text for finding in self.evidence.findings if not finding.true]
        missed = [
            f"{one.name} is {one.shown}, not {one.stated}" for one in self.evidence.measurements if not one.reproduced
        ]
        reasons = "; ".join([*wrong, *missed]) or "every finding holds"
        return f"{self.claim.id} was recorded as {self.recorded!r} and is now {self.evidence.status!r}: {reasons}"

    @property
    def decisive(self) -> Finding:
        """The finding that decided the status: the first false one, or the first one if none is false."""
        return next((finding for finding in self.evidence.findings if not finding.true), self.evidence.findings[0])

    @property
    def data(self) -> dict[str, Any]:
        """The outcome as a JSON-serialisable dictionary."""
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


def run_claim(claim: Claim, progress: Progress = lambda done: None) -> Outcome:
    """Run the check of a claim; `progress` is called with the completed fraction."""
    started = time.perf_counter()
    evidence = claim.check(progress)
    return Outcome(claim, evidence, RECORDED[claim.id], time.perf_counter() - started)
