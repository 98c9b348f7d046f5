"""Summarise a study in one sentence."""

import math
from collections import Counter
from collections.abc import Sequence

from steadystep.lab.counted import count
from steadystep.lab.report.cells import NOTHING, estimate, join_with_and, points, points_interval
from steadystep.lab.statistics.claims import NOT_COMPARABLE, compare_with_claim
from steadystep.lab.statistics.reported import TOO_FEW
from steadystep.lab.statistics.summary import ArmSummary, Summary, Verdict
from steadystep.lab.study.records import Results
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.task import Task

CLAUSES = 4
"""The maximum number of findings in the sentence. Beyond it, pairs that differ in more than clipping are counted."""

PHRASES = {
    "better": "{arms} {are} better than {against}",
    "worse": "{arms} {are} worse than {against}",
    "equivalent": "{arms} {are} equivalent to {against}",
    "undecided": "{arms} against {against} {are} undecided",
    "no pairs": "{arms} cannot be compared with {against} because every pair of runs diverged",
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
        groups.setdefault((_kind(verdict), verdict.against), []).append(verdict)
    clauses = [_clause([verdict]) for verdict in twins]
    if len(clauses) + len(groups) <= CLAUSES:
        clauses += [_clause(group) for group in groups.values()]
    elif others:
        clauses.append(_tally(others, other="other " if twins else ""))
    return f"Test accuracy after {budget}: {'; '.join(clauses)}."


def headline_rows(results: Results, summary: Summary) -> tuple[ArmSummary, ...]:
    """Return the summary of every arm at the headline budget, in the study's order."""
    rows = {row.arm: row for row in summary.arms if row.budget == results.study.epochs}
    return tuple(rows[arm.name] for arm in results.study.arms)


def claim_text(task: Task, row: ArmSummary) -> str:
    """Return the paper's claim about an arm, and how the measured test accuracy compares with it."""
    claim = task.claims.get(row.arm)
    if claim is None:
        return "no claim"
    verdict = NOT_COMPARABLE if task.unlike_paper else compare_with_claim(row.test_accuracy, claim.accuracy)
    return f"{100 * claim.accuracy:.4g}% in {count(claim.epochs, 'epoch')}: {verdict}"


def differ_in_clipping(results: Results, verdict: Verdict) -> bool:
    """Return whether a pair differs only in whether it clips, which is the subject of the paper's title."""
    first, second = _arms(results, verdict)
    if bool(first.clip) == bool(second.clip):
        return False
    return (first.optimizer, first.options) == (second.optimizer, second.options)


def differ_in_moments(results: Results, verdict: Verdict) -> bool:
    """Return whether a pair differs only in the dtype of the optimizer's moments."""
    first, second = _arms(results, verdict)
    if (first.optimizer, first.clip) != (second.optimizer, second.clip):
        return False
    changed = {name for name, _ in set(first.options.items()) ^ set(second.options.items())}
    return changed == {"state_dtype"}


def _arms(results: Results, verdict: Verdict) -> tuple[Arm, Arm]:
    arms = {arm.name: arm for arm in results.study.arms}
    return arms[verdict.arm], arms[verdict.against]


def _kind(verdict: Verdict) -> str:
    return verdict.verdict if verdict.pairs else "no pairs"


def _clause(group: Sequence[Verdict]) -> str:
    first = group[0]
    phrase = PHRASES[_kind(first)].format(
        arms=join_with_and([verdict.arm for verdict in group]),
        are="is" if len(group) == 1 else "are",
        against=first.against,
    )
    if not first.pairs:
        return phrase
    return f"{phrase} ({measured_difference(first) if len(group) == 1 else _differences(group)})"


def measured_difference(verdict: Verdict) -> str:
    """Return the difference of two arms in points with its interval, or with a remark that there is none."""
    interval = points_interval(verdict.difference)
    return f"{points(verdict.difference.mean)} points" + (f" {interval}" if interval else f", {TOO_FEW}")


def _differences(group: Sequence[Verdict]) -> str:
    differences = [points(verdict.difference.mean) for verdict in group]
    if len(set(differences)) == 1:
        return f"{'both' if len(group) == 2 else 'all'} {differences[0]} points"
    return f"{join_with_and(differences)} points"


def _tally(verdicts: Sequence[Verdict], other: str) -> str:
    kinds = Counter("different" if v.verdict in ("better", "worse") else v.verdict for v in verdicts)
    number = len(verdicts)
    if len(kinds) == 1:
        pairs = {1: f"the {other}pair is", 2: f"both {other}pairs are"}.get(number, f"all {number} {other}pairs are")
        return f"{pairs} {next(iter(kinds))}"
    counts = [f"{kinds[kind]} {kind}" for kind in ("different", "equivalent", "undecided") if kinds[kind]]
    return f"of {number} {other}pairs, {join_with_and(counts)}"


def _accuracy(row: ArmSummary) -> str:
    accuracy = estimate(row.test_accuracy)
    if accuracy == NOTHING:
        return "no run finished"
    return f"{accuracy}%" if math.isfinite(row.test_accuracy.low) else f"{accuracy}% ({TOO_FEW})"
