"""Which runs a report's times are of: one that was trained together with others has no step of its own."""

from collections.abc import Sequence

from steadystep.lab.report.cells import count, listed
from steadystep.lab.statistics.summary import ArmSummary
from steadystep.lab.training.record import Record


def timed(rows: Sequence[ArmSummary]) -> str:
    """A sentence about the times of these arms, led by a space; empty where every run was trained alone."""
    shares = [row.arm for row in rows if not row.timed_alone]
    if shares:
        return (
            f" Times of {listed(shares)}: shares of batched steps that many runs took together, not what a run takes "
            "by itself."
        )
    measured = [(row.timed_alone, row.runs - row.diverged or row.runs) for row in rows]
    if all(alone == runs for alone, runs in measured):
        return ""
    alone, runs = (sum(column) for column in zip(*measured, strict=True))
    return f" Times are those of the {count(alone, 'run')} of {runs} that {_was(alone)} trained alone."


def trained(runs: Sequence[Record]) -> str:
    """How many runs were trained alone, and how many side by side with others."""
    alone = sum(run.replicas == 1 for run in runs)
    together = len(runs) - alone
    if not together:
        return "each run by itself"
    most = max(run.replicas for run in runs)
    return f"{count(together, 'run')} as replicas, up to {most} side by side; {count(alone, 'run')} alone"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
