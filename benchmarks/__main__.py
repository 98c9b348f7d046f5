"""`make bench`: time clipping plus step of every optimizer on the tensors of three models, interleaved in one process.

Prints the results and writes benchmarks/results/steps.json; `python -m benchmarks.plot` plots them.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import overhead, streaming
from benchmarks.interleaved import Timing, race
from benchmarks.shapes import MODELS
from benchmarks.steps import ROWS, Row, Step, ours, parameters, peers
from steadystep.lab.system.atomic import write_atomic
from steadystep.lab.training.environment import this_environment

RESULTS = Path(__file__).parent / "results" / "steps.json"
SECONDS = 6.0
"""Seconds for each optimizer on each model, all contestants together."""


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    console = Console()
    found: dict[str, Any] = {"environment": this_environment("float32").model_dump(), "models": {}}
    for model, shapes in MODELS.items():
        rows = {}
        for row in track(ROWS, f"{model}: clip and step", console=console):
            rows[row.name] = {name: asdict(timing) for name, timing in _one(row, shapes(), seconds).items()}
        found["models"][model] = rows
        _print(console, model, rows)
    resnet = MODELS["ResNet-50"]()
    found["guard_and_ledger"] = overhead.guard_and_ledger(resnet, 4 * seconds)
    found["by_unit"] = overhead.by_unit(resnet, 2 * seconds)
    found["first_use"] = overhead.first_use()
    found["bytes_per_parameter"] = overhead.bytes_per_parameter(resnet)
    console.print(found["guard_and_ledger"], found["by_unit"], found["first_use"], found["bytes_per_parameter"])
    RESULTS.parent.mkdir(exist_ok=True)
    write_atomic(RESULTS, json.dumps(found, indent=1).encode())
    console.print(f"written: {RESULTS}")


def _one(row: Row, shapes: list[tuple[int, ...]], seconds: float) -> Mapping[str, Timing]:
    """Time one optimizer: this package's compiled and eager steps, its Adam, other libraries, and the streaming limit.

    The streaming limit reads each gradient once and then moves the bytes of the update.
    """
    params = parameters(shapes)
    read, update = streaming.read(params), streaming.update(params, overhead.slots(row))
    # Threads of other libraries go on spinning for a while, and disturb whatever comes next: not what is compared.
    contestants: dict[str, Step] = {
        "steadystep eager": ours(row, shapes, backend="eager"),
        "steadystep": ours(row, shapes),
        "streaming limit": lambda: (read(), update()),
    }
    if row.name != "Adam":
        contestants["steadystep Adam"] = ours(next(other for other in ROWS if other.name == "Adam"), shapes)
    contestants.update(peers(row, shapes))
    return race(contestants, seconds)


def _print(console: Console, model: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table("optimizer", "steadystep ms", "of the limit", "of our Adam", "of the best other", title=model)
    for name, times in rows.items():
        ms = times["steadystep"]["median_ms"]
        others = {who: time["median_ms"] for who, time in times.items() if _is_other(who)}
        adam = times.get("steadystep Adam", times["steadystep"])["median_ms"]
        best = min(others, key=others.__getitem__) if others else ""
        table.add_row(
            name,
            f"{ms:.3g}",
            f"{ms / times['streaming limit']['median_ms']:.2f}",
            f"{ms / adam:.2f}",
            f"{ms / others[best]:.2f} ({best} {others[best]:.3g} ms)" if best else "none installed",
        )
    console.print(table)


def _is_other(contestant: str) -> bool:
    return not contestant.startswith("steadystep") and contestant != "streaming limit"


if __name__ == "__main__":
    main()
