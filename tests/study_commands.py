"""The commands that train trials, run as a user runs them, and the records that they leave."""

import json
import subprocess
import sys
from pathlib import Path

COMMANDS = {
    "reproduce": ["--task", "digits-mlp", "--seeds", "2", "--epochs", "1"],
    "compare": ["--task", "digits-mlp", "--arms", "sgd,adam+norm", "--settings", "2", "--seeds", "2", "--epochs", "1"],
    "stability": ["--task", "digits-mlp", "--optimizers", "SGD", "--lrs", "0.1,0.2", "--seeds", "1", "--epochs", "1"],
    "success": ["--task", "rnn-latch", "--lengths", "10", "--arms", "SGD", "--seeds", "1", "--tune-seeds", "1"],
}


def numbers(folder: Path) -> dict[str, object]:
    """Return the stored records by trial, without what differs between two runs."""
    records = {}
    for path in (folder / "records").iterdir():
        record = json.loads(path.read_text())["record"]
        records[path.stem] = {name: value for name, value in record.items() if name not in ("times", "environment")}
    return records


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "steadystep", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
