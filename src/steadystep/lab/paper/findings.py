"""What the published records say about a question: every comparison that bears on it, agreeing or not.

Which comparisons these are follows from the arms alone. Three kinds of records are read: verdicts of studies on their
test accuracy, numbers of successful runs, and changes of the learning-rate sensitivity.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from scipy import stats

from steadystep.lab.counted import count
from steadystep.lab.paper.entry import Question
from steadystep.lab.paper.results import BrokenResultsError, Interval, Results, points_words, read_table, summary_rows
from steadystep.lab.tasks.arms import current_name

Outcome = Literal["better", "worse", "equivalent", "undecided"]

ADAMS = ("Adam", "AdamW")
LEVEL = 0.05
OPPOSITE: dict[str, Outcome] = {"better": "worse", "worse": "better"}


@dataclass(frozen=True)
class Finding:
    """One comparison of two arms in the published records."""

    question: Question
    kind: Literal["accuracy", "success", "sensitivity"]
    folder: str  # in docs/results
    page: str  # in this folder
    arm: str  # with the cell of a recurrent network, if there are several
    against: str
    outcome: Outcome
    effect: float  # of accuracy, of the share of successful runs, or in nats of sensitivity
    size: str  # the difference with its interval, or the numbers of successful runs
    reservations: tuple[str, ...] = ()  # why the comparison is not settled, whatever its outcome

    @property
    def settled(self) -> bool:
        """Whether nothing is known that may reverse the comparison."""
        return not self.reservations

    @property
    def recurrent(self) -> bool:
        """Whether the network is recurrent."""
        return self.folder.startswith("rnn-") or "lstm" in self.folder

    @property
    def text(self) -> str:
        """The comparison in words."""
        but = f" (open: {'; '.join(self.reservations)})" if self.reservations else ""
        return f"{self.arm} against {self.against}: {self.outcome}, {self.size}{but}"


def findings(folder: Path) -> tuple[Finding, ...]:
    """Return every comparison in the folder of published results, sorted by the names of its folders.

    Raises:
        BrokenResultsError: if a table cannot be read.
    """
    found: list[Finding] = []
    for place in sorted(path for path in folder.glob("*") if path.is_dir()):
        try:
            for table, read in READERS.items():
                if (place / table).is_file():
                    found += read(place)
        except (KeyError, ValueError, TypeError) as error:
            raise BrokenResultsError(f"a table in {place} is incomplete ({type(error).__name__}: {error})") from error
    return tuple(found)


@dataclass(frozen=True)
class _Arm:
    name: str
    optimizer: str
    clip: str

    @cached_property
    def bare(self) -> str:
        """The name of the arm without its clipper."""
        return self.name.split(" + ")[0]

    def compared(self, other: "_Arm") -> Question | None:
        """Return the question that a comparison of this arm with another one bears on."""
        if self.bare == other.bare and self.clip and not other.clip:
            return "clipping"
        if self.optimizer in ADAMS and (other.optimizer, other.clip) == ("SGD", ""):
            return "clipped-adam-vs-sgd" if self.clip else "adam-vs-sgd"
        return None


def _pairs(arms: list[_Arm]) -> Iterator[tuple[_Arm, _Arm, Question]]:
    for arm in arms:
        for other in arms:
            if question := arm.compared(other):
                yield arm, other, question


def _verdicts(place: Path) -> Iterator[Finding]:
    rows = {current_name(row["arm"]): row for row in summary_rows(place)}
    arms = [_Arm(name, row["optimizer"], row["clip"]) for name, row in rows.items()]
    verdicts = {
        (current_name(row["arm"]), current_name(row["against"])): row for row in read_table(place / "verdicts.csv")
    }
    seen = Results(place).test_seen
    for arm, other, question in _pairs(arms):
        row, sign = verdicts.get((arm.name, other.name)), 1
        if row is None:
            row, sign = verdicts[other.name, arm.name], -1
        low, high = sorted(sign * float(row[f"difference_{end}"]) for end in ("low", "high"))
        outcome: str = row["verdict"] if sign == 1 else OPPOSITE.get(row["verdict"], row["verdict"])
        edges = [name for name in (arm.name, other.name) if rows[name]["edge"] == "True"]
        reservations = [f"tuned to the edge of the search: {' and '.join(edges)}"] if edges else []
        if seen:
            reservations.append("declared after test results were seen")
        yield Finding(
            question=question,
            kind="accuracy",
            folder=place.name,
            page="summary.md",
            arm=arm.name,
            against=other.name,
            outcome=outcome,  # pyright: ignore[reportArgumentType]  (checked when the table was written)
            effect=sign * float(row["difference"]),
            size=points_words(Interval(sign * float(row["difference"]), low, high)),
            reservations=tuple(reservations),
        )


def _success(place: Path) -> Iterator[Finding]:
    """Compare the successful runs of all lengths by Fisher's exact test."""
    totals: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for row in read_table(place / "success.csv"):
        runs, succeeded = totals[row["cell"]].get(arm := current_name(row["arm"]), (0, 0))
        totals[row["cell"]][arm] = (runs + int(row["runs"]), succeeded + int(row["succeeded"]))
    for cell, of_cell in totals.items():
        arms = [_Arm(name, name.split(" + ")[0], name.partition(" + ")[2]) for name in of_cell]
        for arm, other, question in _pairs(arms):
            (runs, won), (runs_before, won_before) = of_cell[arm.name], of_cell[other.name]
            table = [[won, runs - won], [won_before, runs_before - won_before]]
            p = float(stats.fisher_exact(table).pvalue)  # pyright: ignore[reportAttributeAccessIssue]
            decided: Outcome = "better" if won / runs > won_before / runs_before else "worse"
            yield Finding(
                question=question,
                kind="success",
                folder=place.name,
                page="success.md",
                arm=f"{arm.name} ({cell})",
                against=other.name,
                outcome=decided if p < LEVEL else "undecided",
                effect=won / runs - won_before / runs_before,
                size=f"{won} of {count(runs, 'run')} succeeded instead of {won_before}"
                + (f" of {runs_before}" if runs_before != runs else ""),
            )


def _sensitivity(place: Path) -> Iterator[Finding]:
    for row in read_table(place / "stability_sensitivity.csv"):
        if not row["change"]:
            continue
        change, low, high = (float(row[name]) for name in ("change", "change_low", "change_high"))
        arm = current_name(row["arm"])
        yield Finding(
            question="clipping",
            kind="sensitivity",
            folder=place.name,
            page="stability.md",
            arm=arm,
            against=arm.split(" + ")[0],
            outcome="better" if high < 0 else "worse" if low > 0 else "undecided",
            effect=change,
            size=f"{change:+.3f} nats [{low:+.3f}, {high:+.3f}] of learning-rate sensitivity",
        )


READERS: Mapping[str, Callable[[Path], Iterator[Finding]]] = {
    "verdicts.csv": _verdicts,
    "success.csv": _success,
    "stability_sensitivity.csv": _sensitivity,
}
"""The function that reads the comparisons of a folder, by the table that it has."""
