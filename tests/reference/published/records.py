"""Read what is published: tables, and the records behind them."""

import csv
import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]


def table(path: Path) -> list[dict[str, str]]:
    """Read a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def records_of(folder: Path) -> list[Record]:
    """Read the records of a published folder."""
    with gzip.open(folder / "records.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line)["record"] for line in file]


def number(value: Any) -> float:
    """Return a number of a record; "NaN" and the like are written as text."""
    return math.nan if value is None else float(value)


def of_arm(record: Record, arm: Mapping[str, Any]) -> bool:
    """Return whether a record has the optimizer, the options and the kind of clipper of an arm."""
    trial = record["trial"]
    clip = trial["clip"]["kind"] if trial.get("clip") else None
    return (trial["optimizer"], trial.get("options", {}), clip) == (
        arm["optimizer"],
        arm["options"],
        arm.get("clip") or None,
    )


def threshold_of(record: Record) -> float | None:
    """Return the threshold of a record's clipper."""
    return record["trial"]["clip"]["threshold"] if record["trial"].get("clip") else None
