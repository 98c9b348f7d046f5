"""Answer the paper's three research questions from every published comparison, in two sentences each."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from steadystep.lab.counted import count
from steadystep.lab.paper.findings import Finding, findings
from steadystep.lab.paper.results import summary_rows
from steadystep.lab.report.cells import join_with_and, percent, points
from steadystep.lab.report.markdown_parts import escape

NOTHING_YET = "No comparison here bears on it yet."


class Answer(NamedTuple):
    """A research question of the paper, and what the records say."""

    question: str
    text: str


def answers(folder: Path) -> tuple[Answer, ...]:
    """Return the answers, in Markdown, from the folder of published results.

    Only comparisons without reservations are counted; the others are open.
    """
    found = findings(folder)
    return (
        Answer(
            "How effective are Adam and gradient clipping?",
            " ".join(
                _compared([each for each in found if each.question == question], subject)
                for question, subject in (
                    ("adam-vs-sgd", "Adam compared with SGD"),
                    ("clipped-adam-vs-sgd", "Clipped Adam compared with SGD"),
                )
            ),
        ),
        Answer("What do they cost?", _cost(folder)),
        Answer("How do they work together?", _clipping([each for each in found if each.question == "clipping"])),
    )


def _compared(found: Sequence[Finding], subject: str) -> str:
    """Return one sentence on two optimizers."""
    if not found:
        return f"{subject}: {NOTHING_YET[0].lower()}{NOTHING_YET[1:]}"
    parts = [
        f"{outcome} in {_sizes(some)}"
        for outcome in ("better", "equivalent", "worse")
        if (some := _settled(found, outcome))
    ]
    return f"{subject} is {'; '.join([*parts, *_rest(found)])}."


def _clipping(found: Sequence[Finding]) -> str:
    """Return where clipping helps, and then where it makes no difference, costs something, or is undecided."""
    if not found:
        return NOTHING_YET
    helps = _settled(found, "better")
    first = f"Clipping helps in {_sizes(helps)}." if helps else "No comparison here shows that clipping helps."
    parts = [
        f"{words} in {_sizes(some)}"
        for words, outcome in (("makes no difference", "equivalent"), ("costs something", "worse"))
        if (some := _settled(found, outcome))
    ]
    rest = [*parts, *(f"is {words}" for words in _rest(found))]
    return f"{first} It {'; it '.join(rest)}." if rest else first


def _settled(found: Sequence[Finding], outcome: str) -> list[Finding]:
    return [each for each in found if each.outcome == outcome and each.settled]


def _sizes(found: Sequence[Finding]) -> str:
    """Return the reports that comparisons come from, each with its largest effect."""
    places: dict[str, list[Finding]] = {}
    for each in found:
        places.setdefault(_link(each), []).append(each)
    texts = []
    for link, some in places.items():
        largest = max(some, key=lambda each: abs(each.effect))
        more = f"; {count(len(some) - 1, 'more comparison')}" if len(some) > 1 else ""
        texts.append(f"{link} ({escape(largest.arm)}, {escape(largest.size)}{more})")
    return ", ".join(texts)


def _rest(found: Sequence[Finding]) -> list[str]:
    """Return which comparisons are undecided, and which are open."""
    undecided = _settled(found, "undecided")
    unsettled = [each for each in found if not each.settled]
    return [
        f"{word} in {join_with_and(list(dict.fromkeys(_link(each) for each in some)))}"
        for word, some in (("undecided", undecided), ("open", unsettled))
        if some
    ]


def _link(found: Finding) -> str:
    return f"[{found.folder}]({found.folder}/{found.page})"


def _cost(folder: Path) -> str:
    """Return the optimizer's share of a training step, and what clipping adds to it."""
    shares: list[tuple[float, str]] = []
    added: list[tuple[float, str]] = []
    for path in sorted(folder.glob("*/summary.csv")):
        arms = {row["arm"]: row for row in summary_rows(path.parent)}
        for name, row in arms.items():
            share = float(row["optimizer_ms"]) / float(row["step_ms"])
            shares.append((share, path.parent.name))
            bare = arms.get(name.split(" + ")[0])
            if row["clip"] and bare:
                without = float(bare["optimizer_ms"]) / float(bare["step_ms"])
                added.append((share - without, path.parent.name))
    if not shares:
        return NOTHING_YET
    (least, small), (most, large) = min(shares), max(shares)
    first = f"The optimizer takes {percent(least, 1)}% ({small}) to {percent(most, 1)}% ({large}) of a training step."
    if not added:
        return first
    (low, where_low), (high, where_high) = min(added), max(added)
    by = f"{points(low, 1)} ({where_low}) to {points(high, 1)} points ({where_high})"
    return f"{first} Clipping changes that share by {by}."
