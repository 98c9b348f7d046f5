"""Measured results, from the tables that a published study keeps in docs/results."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from steadystep.lab.errors import UserError
from steadystep.lab.paper.entry import Measured


class BrokenResultsError(UserError):
    """Published results that cannot be read."""


def published() -> Path:
    """Where the results that come with the package are: within it, or in docs/results of a source tree."""
    installed = Path(__file__).parent / "results"
    return installed if installed.is_dir() else Path(__file__).parents[4] / "docs" / "results"


@dataclass(frozen=True)
class Interval:
    """A measured value with its 95% interval, fractions of 1."""

    value: float
    low: float
    high: float

    def holds(self, stated: float) -> bool:
        """Whether a stated value lies within it."""
        return self.low <= stated <= self.high


@dataclass(frozen=True)
class Results:
    """The summary of one study."""

    folder: Path

    @property
    def found(self) -> bool:
        return (self.folder / "summary.csv").is_file()

    def accuracy(self, arm: str) -> Interval:
        """Test accuracy at the largest budget."""
        return self._interval(self._arm(arm), "test_accuracy")

    def difference(self, arm: str, against: str) -> tuple[Interval, str]:
        """The paired difference of test accuracy, arm - against, and the study's verdict on it."""
        for row in self._verdicts:
            if (row["arm"], row["against"]) == (arm, against):
                return self._interval(row, "difference"), row["verdict"]
        raise BrokenResultsError(f"{self.folder / 'verdicts.csv'} does not compare {arm!r} with {against!r}")

    def says(self, measured: Measured) -> str:
        """A result in words."""
        arm, against = measured.arm or "", measured.against or ""
        match measured.what:
            case "accuracy":
                found = self.accuracy(arm)
                return f"{arm} reaches {_percent(found)} after {self._arm(arm)['budget']} epochs"
            case "difference":
                found, verdict = self.difference(arm, against)
                return f"{arm} against {against}: {verdict}, {_points(found)}"
            case "epochs":
                reached = ", ".join(f"{row['definition']} {_epochs(row['epochs'])}" for row in self._epochs(arm))
                return f"{arm}, epochs to converge by five definitions: {reached}"
            case "tuning":
                row = self._arm(arm)
                return f"{arm}: learning rate {float(row['lr']):.3g}, the best of {row['tuning_runs']} settings tried"
            case "clipping":
                row = self._arm(arm)
                share = 100 * float(row["clip_rate"])
                return (
                    f"{arm}: global norm clipped at {float(row['threshold']):.3g}, which acts in {share:.1f}% of steps"
                )
            case "cost":
                row = self._arm(arm)
                return f"{arm}: {float(row['optimizer_ms']):.2g} ms of a step of {float(row['step_ms']):.2g} ms"
            case "batch_size":
                return f"batch size {self._study['batch_size']}, schedule {self._study['schedule']}, in its study.json"
            case "seeds":
                return f"{self._study['seeds']} paired seeds an arm"

    def _arm(self, arm: str) -> dict[str, str]:
        rows = [row for row in self._summary if row["arm"] == arm]
        if not rows:
            raise BrokenResultsError(f"{self.folder / 'summary.csv'} has no arm {arm!r}")
        return max(rows, key=lambda row: int(row["budget"]))

    def _epochs(self, arm: str) -> Sequence[dict[str, str]]:
        return [row for row in self._table("convergence.csv") if row["arm"] == arm]

    @cached_property
    def _summary(self) -> list[dict[str, str]]:
        return self._table("summary.csv")

    @cached_property
    def _verdicts(self) -> list[dict[str, str]]:
        return self._table("verdicts.csv")

    @cached_property
    def _study(self) -> dict[str, Any]:
        path = self.folder / "study.json"
        try:
            return json.loads(path.read_bytes())["study"]
        except (OSError, ValueError, KeyError) as error:
            raise BrokenResultsError(f"{path} declares no study ({type(error).__name__})") from error

    def _table(self, name: str) -> list[dict[str, str]]:
        try:
            with (self.folder / name).open(encoding="utf-8", newline="") as file:
                return list(csv.DictReader(file))
        except OSError as error:
            raise BrokenResultsError(f"cannot read {self.folder / name}: {error.strerror}") from error

    def _interval(self, row: dict[str, str], name: str) -> Interval:
        try:
            return Interval(float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"]))
        except (KeyError, ValueError) as error:
            raise BrokenResultsError(f"a table in {self.folder} has no {name} with its interval") from error


def _epochs(text: str) -> str:
    return f"{float(text):g}" if text else "never"


def _percent(found: Interval) -> str:
    return f"{100 * found.value:.2f}% [{100 * found.low:.2f}, {100 * found.high:.2f}]"


def _points(found: Interval) -> str:
    # + 0.0 turns -0.0 into 0.0.
    value, low, high = (round(100 * x, 2) + 0.0 for x in (found.value, found.low, found.high))
    return f"{value:+.2f} points [{low:+.2f}, {high:+.2f}]"
