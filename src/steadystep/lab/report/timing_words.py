"""Describe which runs were timed: a run that was trained together with others has no step time of its own."""

from collections.abc import Sequence

from steadystep.lab.counted import count
from steadystep.lab.report.cells import join_with_and
from steadystep.lab.statistics.summary import ArmSummary
from steadystep.lab.training.record import Record


def timing_note(rows: Sequence[ArmSummary]) -> str:
    """Return a space and a sentence about the times of these arms, or "" if every run was trained alone."""
    batched = [row.arm for row in rows if not row.timed_alone]
    if batched:
        return (
            f" Times of {join_with_and(batched)}: each run's share of steps that were batched over many runs, not the "
            "time of a run that is trained alone."
        )
    measured = [(row.timed_alone, row.runs - row.diverged or row.runs) for row in rows]
    if all(alone == runs for alone, runs in measured):
        return ""
    alone, runs = (sum(column) for column in zip(*measured, strict=True))
    verb = "was" if alone == 1 else "were"
    return f" Times are those of the {count(alone, 'run')} of {runs} that {verb} trained alone."


def training_mode(runs: Sequence[Record]) -> str:
    """Return a phrase that says how many runs were trained alone and how many side by side with others."""
    alone = sum(run.replicas == 1 for run in runs)
    together = len(runs) - alone
    if not together:
        return "each run alone" if alone > 1 else "alone"
    most = max(run.replicas for run in runs)
    side_by_side = f"up to {most} side by side"
    if not alone:
        return f"as replicas, {side_by_side}" if together > 1 else "as a replica"
    replicas = "replicas" if together > 1 else "a replica"
    return f"{count(together, 'run')} as {replicas}, {side_by_side}; {count(alone, 'run')} alone"
