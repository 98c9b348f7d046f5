"""Measured results, from the tables of the published studies in docs/results."""

import csv
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from steadystep.lab.counted import count
from steadystep.lab.errors import UserError
from steadystep.lab.execution.store import BrokenStudyError, Store
from steadystep.lab.paper.entry import Measured
from steadystep.lab.statistics.convergence import DEFINITIONS, FORMER_NAMES
from steadystep.lab.statistics.reported import TOO_FEW
from steadystep.lab.statistics.summary import Estimate
from steadystep.lab.system.json_text import read_json
from steadystep.lab.tasks import find_task
from steadystep.lab.tasks.arms import current_name


class BrokenResultsError(UserError):
    """An error raised if published results cannot be read."""


def published_results() -> Path:
    """Return the folder of the published results: inside the installed package, or docs/results in a source tree."""
    installed = Path(__file__).parent / "results"
    return installed if installed.is_dir() else Path(__file__).parents[4] / "docs" / "results"


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a published table.

    Raises:
        BrokenResultsError: if it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BrokenResultsError(f"cannot read {path}: {reason}") from error


def summary_rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a study's summary at its largest budget."""
    rows = read_table(folder / "summary.csv")
    try:
        largest = max(int(row["budget"]) for row in rows)
        return [row for row in rows if int(row["budget"]) == largest]
    except (KeyError, ValueError, TypeError) as error:
        raise BrokenResultsError(f"{folder / 'summary.csv'} has no budgets ({type(error).__name__})") from error


@dataclass(frozen=True)
class Interval:
    """A measured value with its 95% interval, as fractions of 1; the ends are nan if there are too few seeds."""

    value: float
    low: float
    high: float

    def contains(self, stated: float) -> bool:
        """Return whether a stated value lies within the interval."""
        return self.low <= stated <= self.high

    @property
    def estimate(self) -> Estimate:
        """The value and the interval as the estimate of a summary."""
        return Estimate(self.value, self.low, self.high)


@dataclass(frozen=True)
class Results:
    """The summary of one study."""

    folder: Path

    @property
    def exists(self) -> bool:
        """Whether the folder contains results."""
        return (self.folder / "summary.csv").is_file()

    @cached_property
    def test_seen(self) -> int:
        """The number of test results that existed when the study was last changed."""
        try:
            return Store(self.folder).declared().test_seen
        except BrokenStudyError as error:
            raise BrokenResultsError(str(error)) from error

    @property
    def unlike_paper(self) -> str:
        """How the network of the study differs from the one that the paper describes; "" if it is of that kind."""
        return find_task(self._study["task"]).unlike_paper

    def accuracy(self, arm: str) -> Interval:
        """Return the test accuracy of an arm at the largest budget."""
        return self._interval(self._arm(arm), "test_accuracy")

    def difference(self, arm: str, against: str) -> tuple[Interval, str]:
        """Return the paired difference in test accuracy, arm - against, and the study's verdict on it."""
        for row in self._verdicts:
            if (current_name(row["arm"]), current_name(row["against"])) == (arm, against):
                return self._interval(row, "difference"), row["verdict"]
        raise BrokenResultsError(f"{self.folder / 'verdicts.csv'} does not compare {arm!r} with {against!r}")

    def describe(self, measured: Measured) -> str:
        """Return a result as text."""
        arm, against = measured.arm or "", measured.against or ""
        match measured.what:
            case "accuracy":
                return f"{arm} reaches {_percent(self.accuracy(arm))} after {_epoch_count(self._arm(arm)['budget'])}"
            case "difference":
                difference, verdict = self.difference(arm, against)
                return f"{arm} against {against}: {verdict}, {points_words(difference)}"
            case "epochs":
                times = ", ".join(f"{name} {_epochs(epochs)}" for name, epochs in self._convergence(arm).items())
                return f"{arm}, convergence by five definitions: {times}"
            case "tuning":
                row = self._arm(arm)
                tried = count(int(row["tuning_runs"]), "tuning run")
                return f"{arm}: learning rate {float(row['lr']):.3g}, the best in {tried}"
            case "clipping":
                row = self._arm(arm)
                share = 100 * float(row["clip_rate"])
                return f"{arm}: global norm clipped at {float(row['threshold']):.3g}, in {share:.1f}% of the steps"
            case "cost":
                row = self._arm(arm)
                return f"{arm}: {float(row['optimizer_ms']):.2g} ms of a step of {float(row['step_ms']):.2g} ms"
            case "batch_size":
                return f"batch size {self._study['batch_size']}, schedule {self._study['schedule']}, in study.json"
            case "seeds":
                return f"{count(self._study['seeds'], 'paired seed')} per arm"

    def _arm(self, arm: str) -> dict[str, str]:
        rows = [row for row in self._summary if current_name(row["arm"]) == arm]
        if not rows:
            raise BrokenResultsError(f"{self.folder / 'summary.csv'} has no arm {arm!r}")
        return max(rows, key=lambda row: int(row["budget"]))

    def _convergence(self, arm: str) -> dict[str, str]:
        """Return the epochs of an arm by the name of the definition."""
        rows = [row for row in self._table("convergence.csv") if current_name(row["arm"]) == arm]
        epochs = {FORMER_NAMES.get(row["definition"], row["definition"]): row["epochs"] for row in rows}
        if not set(epochs) <= {definition.name for definition in DEFINITIONS}:
            raise BrokenResultsError(f"{self.folder / 'convergence.csv'} has an unknown definition")
        return epochs

    @cached_property
    def _summary(self) -> list[dict[str, str]]:
        return self._table("summary.csv")

    @cached_property
    def _verdicts(self) -> list[dict[str, str]]:
        return self._table("verdicts.csv")

    @property
    def _study(self) -> dict[str, Any]:
        return self._stored["study"]

    @cached_property
    def _stored(self) -> dict[str, Any]:
        path = self.folder / "study.json"
        try:
            stored = read_json(path.read_bytes())
            if not isinstance(stored["study"], dict):
                raise TypeError
            return stored
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BrokenResultsError(f"{path} does not declare a study ({type(error).__name__})") from error

    def _table(self, name: str) -> list[dict[str, str]]:
        return read_table(self.folder / name)

    def _interval(self, row: dict[str, str], name: str) -> Interval:
        try:
            return Interval(float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"]))
        except (KeyError, ValueError) as error:
            raise BrokenResultsError(f"a table in {self.folder} has no {name} with an interval") from error


def _epochs(text: str) -> str:
    return f"{float(text):g}" if text else "never"


def _epoch_count(text: str) -> str:
    return count(int(text), "epoch")


def _percent(interval: Interval) -> str:
    if math.isnan(interval.low):
        return f"{100 * interval.value:.2f}% ({TOO_FEW})"
    return f"{100 * interval.value:.2f}% [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def points_words(interval: Interval) -> str:
    """Return a difference of accuracies in points with its interval."""
    if math.isnan(interval.low):
        return f"{round(100 * interval.value, 2) + 0.0:+.2f} points, {TOO_FEW}"
    # + 0.0 turns -0.0 into 0.0.
    value, low, high = (round(100 * x, 2) + 0.0 for x in (interval.value, interval.low, interval.high))
    return f"{value:+.2f} points [{low:+.2f}, {high:+.2f}]"
