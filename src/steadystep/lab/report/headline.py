"""Summarise a study in one sentence."""

from collections import Counter
from collections.abc import Sequence

from steadystep.lab.report.cells import NOTHING, count, estimate, join_with_and, points, points_interval
from steadystep.lab.statistics.summary import ArmSummary, Summary, Verdict
from steadystep.lab.study.records import Results
from steadystep.lab.tasks.task import Task

CLAUSES = 4
"""The maximum number of findings in the sentence. Beyond it, pairs that differ in more than clipping are counted."""

PHRASES = {
    "better": "{arms} {are} better than {against}",
    "worse": "{arms} {are} worse than {against}",
    "equivalent": "{arms} {are} equivalent to {against}",
    "undecided": "{arms} against {against} {are} undecided",
}


def headline(results: Results, summary: Summary) -> str:
    """Return a sentence that states the effect of clipping first and then the differences between optimizers."""
    rows = headline_rows(results, summary)
    budget = count(results.study.epochs, "epoch")
    if not summary.verdicts:
        return f"Test accuracy after {budget}: {rows[0].arm}, {_accuracy(rows[0])}."
    twins = [verdict for verdict in summary.verdicts if differ_in_clipping(results, verdict)]
    others = [verdict for verdict in summary.verdicts if verdict not in twins]
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in others:
        groups.setdefault((verdict.verdict, verdict.against), []).append(verdict)
    clauses = [_clause([verdict]) for verdict in twins]
    if len(clauses) + len(groups) <= CLAUSES:
        clauses += [_clause(group) for group in groups.values()]
    else:
        clauses.append(_tally(others, "other pairs" if twins else "pairs"))
    return f"Test accuracy after {budget}: {'; '.join(clauses)}."


def headline_rows(results: Results, summary: Summary) -> tuple[ArmSummary, ...]:
    """Return the summary of every arm at the headline budget, in the study's order."""
    rows = {row.arm: row for row in summary.arms if row.budget == results.study.epochs}
    return tuple(rows[arm.name] for arm in results.study.arms)


def claim_text(task: Task, arm: str) -> str:
    """Return the paper's claim about an arm as text."""
    claimed = task.claims.get(arm)
    return f"{100 * claimed.accuracy:.4g}% in {count(claimed.epochs, 'epoch')}" if claimed else "no claim"


def differ_in_clipping(results: Results, verdict: Verdict) -> bool:
    """Return whether a pair differs only in whether it clips, which is the subject of the paper's title."""
    arms = {arm.name: arm for arm in results.study.arms}
    first, second = arms[verdict.arm], arms[verdict.against]
    if bool(first.clip) == bool(second.clip):
        return False
    return (first.optimizer, first.options) == (second.optimizer, second.options)


def _clause(group: Sequence[Verdict]) -> str:
    first = group[0]
    phrase = PHRASES[first.verdict].format(
        arms=join_with_and([verdict.arm for verdict in group]),
        are="is" if len(group) == 1 else "are",
        against=first.against,
    )
    if len(group) == 1:
        return f"{phrase} ({points(first.difference.mean)} points {points_interval(first.difference)}".rstrip() + ")"
    return f"{phrase} ({join_with_and([points(verdict.difference.mean) for verdict in group])} points)"


def _tally(verdicts: Sequence[Verdict], pairs: str) -> str:
    kinds = Counter("different" if v.verdict in ("better", "worse") else v.verdict for v in verdicts)
    counts = [f"{kinds[kind]} {kind}" for kind in ("different", "equivalent", "undecided") if kinds[kind]]
    return f"of {len(verdicts)} {pairs}, {join_with_and(counts)}"


def _accuracy(row: ArmSummary) -> str:
    accuracy = estimate(row.test_accuracy)
    return "no run finished" if accuracy == NOTHING else f"{accuracy}%"
