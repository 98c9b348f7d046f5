"""`python -m benchmarks.cuda`: time clipping plus step of every optimizer on a CUDA device, interleaved in one process.

Every step is timed as called from Python, which includes the kernel launches, and replayed as a CUDA graph, where only
the time on the device counts. Prints the results and writes benchmarks/results/cuda.json.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import overhead
from benchmarks.interleaved import race
from benchmarks.shapes import MODELS, Shapes
from benchmarks.steps import ROWS, Row, Step, clip_then_step, ours, parameters, peers
from steadystep.lab.system.atomic import write_atomic
from steadystep.lab.training.device import find_device
from steadystep.lab.training.environment import this_environment

RESULTS = Path(__file__).parent / "results" / "cuda.json"
SECONDS = 1.0
"""Seconds for each optimizer on each model, all contestants together."""

LIMIT = "streaming limit, graph"


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    if not torch.cuda.is_available():
        sys.exit("benchmarks.cuda: torch finds no CUDA device")
    console = Console()
    found: dict[str, Any] = {
        "environment": this_environment("float32", find_device("cuda")).model_dump(),
        "cuda": torch.version.cuda,
        "models": {},
    }
    for model, shapes in MODELS.items():
        rows = {}
        for row in track(ROWS, f"{model}: clip and step", console=console):
            rows[row.name] = _one(row, shapes(), seconds)
        found["models"][model] = rows
        _print(console, model, rows)
    RESULTS.parent.mkdir(exist_ok=True)
    write_atomic(RESULTS, json.dumps(found, indent=1).encode())
    console.print(f"written: {RESULTS}", soft_wrap=True)


def _one(row: Row, shapes: Shapes, seconds: float) -> Mapping[str, Mapping[str, Any]]:
    contestants: dict[str, Step] = {
        "steadystep": ours(row, shapes, "cuda"),
        "steadystep, graph": _graph(ours(row, shapes, "cuda")),
        LIMIT: _graph(_limit(shapes, overhead.slots(row))),
    }
    for name, step in peers(row, shapes, "cuda"):
        try:
            step()
        except RuntimeError as error:  # torch's fused Adagrad exists only for the CPU
            print(f"{row.name}, {name}: skipped, {str(error).splitlines()[0]}")
        else:
            contestants[name] = step
    if "torch fused" in contestants:
        contestants["torch fused, graph"] = _graph(_capturable(row, shapes))
    timings = race(contestants, seconds, finish=torch.cuda.synchronize)
    return {name: asdict(timing) for name, timing in timings.items()}


def _capturable(row: Row, shapes: Shapes) -> Step:
    """Return torch's fused step in a form that a CUDA graph can capture."""
    options = {} if row.torch in ("SGD", "Adagrad") else {"capturable": True}
    kind = getattr(torch.optim, row.torch)
    return clip_then_step(partial(kind, fused=True, **row.torch_options, **options), shapes, "cuda")


def _graph(step: Callable[[], object]) -> Step:
    """Capture a step in a CUDA graph, after three warm-up steps, and return its replay."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay(keep_alive: object = step) -> None:
        graph.replay()

    return replay


def _limit(shapes: Shapes, slots: int) -> Step:
    """Return a step that reads each gradient once and then moves the bytes of the update."""
    from benchmarks import cuda_streaming

    params = parameters(shapes, "cuda")
    read, update = cuda_streaming.read(params), cuda_streaming.update(params, slots)

    def step() -> None:
        read()
        update()

    return step


def _print(console: Console, model: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table(
        "optimizer", "steadystep ms", "of the best other", "in a graph ms", "of torch fused in one", "of the limit",
        title=model,
    )  # fmt: skip
    for name, times in rows.items():
        ms = {who: time["median_ms"] for who, time in times.items()}
        others = {who: one for who, one in ms.items() if not who.startswith("steadystep") and "graph" not in who}
        best = min(others, key=others.__getitem__) if others else ""
        replayed, fused = ms["steadystep, graph"], ms.get("torch fused, graph")
        table.add_row(
            name,
            f"{ms['steadystep']:.3f}",
            f"{ms['steadystep'] / others[best]:.2f} ({best} {others[best]:.3f})" if best else "none installed",
            f"{replayed:.3f}",
            f"{replayed / fused:.2f} ({fused:.3f})" if fused else "",
            f"{replayed / ms[LIMIT]:.2f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
