"""What the doctor says."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from steadystep.recorder.recording import Recording

CULPRITS = (
    "batch",
    "forward-op",
    "backward-op",
    "range",
    "optimizer-precision",
    "optimizer-state",
    "learning-rate",
    "outlier-gradient",
    "clip-order",
    "accumulation",
    "initialisation",
    "wrong-loss",
    "transient",
)


@dataclass(frozen=True)
class Evidence:
    """One thing that was tried, and what came of it."""

    swap: str
    outcome: str
    healthy: bool | None = None
    """Whether the run is sound with it; None if the question does not arise."""


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a run, and what has been seen to mend it.

    Attributes:
        culprit: one of `CULPRITS`, or None if nothing is proven.
        place: the module, parameter, example or option that is at fault; "" if nothing is.
        step: the step of the trouble, counted from 0; None for a healthy run.
        sentence: what is wrong, in one sentence.
        fix: what mends it; "" if nothing that was tried does.
        verified: whether the fix held in replay for all steps that were tried.
        held: for how many steps it held.
        evidence: the swaps and their outcomes.
        race: the fixes that were tried, and what came of each.
        trouble: what was seen, such as "the loss is nan"; "" for a healthy run.
        losses: the loss of each step of the run.
        norms: the norm of the gradients of each step.
        recording: what the black box holds of the run; None if there is no box.
    """

    culprit: str | None
    place: str
    step: int | None
    sentence: str
    fix: str = ""
    verified: bool = False
    held: int = 0
    evidence: tuple[Evidence, ...] = ()
    race: tuple[Evidence, ...] = ()
    trouble: str = ""
    losses: tuple[float, ...] = field(default=(), repr=False)
    norms: tuple[float, ...] = field(default=(), repr=False)
    recording: Recording | None = field(default=None, repr=False)

    @property
    def healthy(self) -> bool:
        """Whether no trouble was seen."""
        return not self.trouble and self.culprit is None

    @property
    def exit_code(self) -> int:
        """What the command exits with: 0 for a healthy run, 3 for one with a culprit, 4 for trouble without."""
        return 0 if self.healthy else 3 if self.culprit else 4

    def as_dict(self) -> dict[str, Any]:
        """Return plain values under the same names, without the curves."""
        shown = [each.name for each in fields(self) if each.repr and each.name not in ("evidence", "race")]
        tried = {name: [asdict(each) for each in getattr(self, name)] for name in ("evidence", "race")}
        return {**{name: getattr(self, name) for name in shown}, **tried, "healthy": self.healthy}

    def to_json(self) -> str:
        """Return the diagnosis as JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
