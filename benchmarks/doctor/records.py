"""The records of the benchmark: a line of JSON for each diagnosis and for each run that the baselines watched.

A record holds for the sources it was made with. A program that starts again takes over the records whose sources have
not changed, and measures the others.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from steadystep.lab.system.atomic import write_atomic

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "benchmarks" / "results" / "doctor.jsonl"
FIRST = ROOT / "benchmarks" / "results" / "doctor-first.jsonl"
"""What was said of the held-out and the unseen programs when they were measured for the first time."""

Record = dict[str, Any]
Key = tuple[str, str, int]

RUNS = ("benchmarks/doctor/run.py", "benchmarks/doctor/healthy.py", "benchmarks/doctor/programs",
        "benchmarks/doctor/planted")  # fmt: skip
ENGINE = ("src/steadystep/diagnosis", "src/steadystep/recorder")


def fingerprint(kind: str) -> str:
    """Return a hash of the sources that decide what the records of a kind say."""
    if kind.startswith("baselines"):
        sources = (*RUNS, "benchmarks/doctor/baselines.py")
    elif kind in ("planted", "healthy"):
        sources = (*RUNS, *ENGINE)
    else:
        sources = (f"benchmarks/doctor/{kind}", *ENGINE)
    digest = hashlib.sha256()
    for source in sources:
        path = ROOT / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def key(record: Record) -> Key:
    return record["kind"], record["name"], record["seed"]


class Records:
    """The records of a file, whose stale ones are left out."""

    def __init__(self, path: Path = RECORDS) -> None:
        self.path = path
        self._sources: dict[str, str] = {}
        self.all: dict[Key, Record] = {}
        for record in read(path):
            if record["sources"] == self._source_of(record["kind"]):
                self.all[key(record)] = record

    def add(self, record: Record) -> None:
        """Add a record and write the file."""
        record = {**record, "sources": self._source_of(record["kind"])}
        self.all[key(record)] = record
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(self.all[each]) for each in sorted(self.all)]
        write_atomic(self.path, "\n".join(lines) + "\n")

    def _source_of(self, kind: str) -> str:
        """Return the fingerprint of a kind as it was when this object first asked for it."""
        if kind not in self._sources:
            self._sources[kind] = fingerprint(kind)
        return self._sources[kind]

    def missing(self, keys: Iterable[Key]) -> list[Key]:
        return [each for each in keys if each not in self.all]


def read(path: Path = RECORDS) -> list[Record]:
    """Return all records of a file, oldest sources included."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
