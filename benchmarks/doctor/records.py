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

Record = dict[str, Any]
Key = tuple[str, str, int]

CASES = ("benchmarks/doctor/run.py", "benchmarks/doctor/healthy.py", "benchmarks/doctor/programs",
         "benchmarks/doctor/planted", "benchmarks/doctor/public")  # fmt: skip
SOURCES = {
    "diagnosis": (*CASES, "src/steadystep/diagnosis", "src/steadystep/recorder"),
    "baselines": (*CASES, "benchmarks/doctor/baselines.py"),
}


def fingerprint(who: str) -> str:
    """Return a hash of the sources that decide what a record of a diagnosis or of the baselines says."""
    digest = hashlib.sha256()
    for source in SOURCES[who]:
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
        self.sources = {who: fingerprint(who) for who in SOURCES}
        self.all: dict[Key, Record] = {}
        for record in read(path):
            if record["sources"] == self.sources[_who(record["kind"])]:
                self.all[key(record)] = record

    def add(self, record: Record) -> None:
        """Add a record and write the file."""
        record = {**record, "sources": self.sources[_who(record["kind"])]}
        self.all[key(record)] = record
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(self.all[each]) for each in sorted(self.all)]
        write_atomic(self.path, "\n".join(lines) + "\n")

    def missing(self, keys: Iterable[Key]) -> list[Key]:
        return [each for each in keys if each not in self.all]


def read(path: Path = RECORDS) -> list[Record]:
    """Return all records of a file, oldest sources included."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _who(kind: str) -> str:
    return "baselines" if kind.startswith("baselines") else "diagnosis"
