"""What the investigation of one class of failures hands to the race of fixes."""

from dataclasses import dataclass

from steadystep.diagnosis.changes import Change


@dataclass(frozen=True, eq=False)
class Fix:
    """One way to mend a run.

    Attributes:
        words: what the user does, in the imperative.
        changes: what a replay does instead.
        first: the step before which the replay starts; None: the first one.
    """

    words: str
    changes: tuple[Change, ...]
    first: int | None = None


@dataclass(frozen=True)
class Finding:
    """A culprit that a swap has shown, and its fixes, the least invasive first."""

    culprit: str
    place: str
    step: int
    sentence: str
    fixes: tuple[Fix, ...]
