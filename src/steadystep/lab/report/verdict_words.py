"""Format verdicts as sentences."""

from steadystep.lab.report.cells import margin, points
from steadystep.lab.report.headline import measured_difference
from steadystep.lab.statistics.claims import NOT_COMPARABLE
from steadystep.lab.statistics.summary import Verdict
from steadystep.lab.tasks.task import Task


def sentence(verdict: Verdict, task: Task) -> str:
    """Return a sentence such as "Adam vs SGD: equivalent, +0.03 points [−0.10, +0.16], margin 0.5"."""
    return f"{verdict.arm} vs {verdict.against}: {verdict.verdict}, {evidence(verdict, task)}"


def evidence(verdict: Verdict, task: Task) -> str:
    """Return the evidence for a verdict: the difference, its interval, the margin, and the paper's difference."""
    if not verdict.pairs:
        return "no pair of seeds to compare"
    claimed = claimed_difference(verdict, task)
    paper = "" if claimed is None else f"; paper {points(claimed)}"
    if paper and task.unlike_paper:
        paper += f", {NOT_COMPARABLE}"
    return f"{measured_difference(verdict)}, margin {margin(verdict.margin)}{paper}{_needed(verdict)}"


def _needed(verdict: Verdict) -> str:
    """Return how many seeds would decide an undecided pair."""
    return "" if verdict.seeds_needed is None else f"; about {verdict.seeds_needed:,} seeds would decide it"


def claimed_difference(verdict: Verdict, task: Task) -> float | None:
    """Return the difference between the paper's accuracies, arm - against, or None if it does not claim both."""
    first, second = task.claims.get(verdict.arm), task.claims.get(verdict.against)
    return first.accuracy - second.accuracy if first and second else None
