"""`python -m benchmarks.recorder`: the share of a training step that the black box takes, and the memory it holds.

Each step is a whole one: batch, forward, backward, optimizer. With and without a box, the steps of one network and one
optimizer take turns in one process. The share is the median of the ratios of neighbouring turns, minus 1, with the
interval that holds 95 % of its bootstrap replicates; that of two runs without a box says what the method can resolve.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import steadystep
from benchmarks.written_block import with_block
from steadystep.lab.system.atomic import write_atomic
from steadystep.lab.tasks.networks.mlp import make_mlp
from steadystep.lab.training.environment import this_environment
from steadystep.recorder.box import BlackBox

RESULTS = Path(__file__).parent / "results" / "recorder.json"
PAGE = Path(__file__).parents[1] / "docs" / "reference" / "doctor.md"
SECONDS = 120.0
"""Seconds for each network with each optimizer."""

Make = Callable[[Any], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "steadystep.AdamW": lambda params: steadystep.AdamW(params, lr=1e-4, clip=1.0),
    "torch.optim.AdamW": lambda params: torch.optim.AdamW(params, lr=1e-4),
}


class Network(NamedTuple):
    """A network with a batch of its inputs and targets, and the steps that are taken before another run's turn."""

    make: Callable[[], nn.Module]
    inputs: Callable[[], torch.Tensor]
    targets: Callable[[], torch.Tensor]
    turn: int


class Transformer(nn.Module):
    """A language model of 25 million parameters: 7 layers of width 480, and 5,800 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5800, 480)
        layer = nn.TransformerEncoderLayer(480, 8, 1920, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 7, enable_nested_tensor=False)
        self.head = nn.Linear(480, 5800)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of the tokens that follow: (batch, tokens, 5800) as (tokens, 5800)."""
        return self.head(self.layers(self.embed(tokens))).flatten(0, 1)


NETWORKS = {
    "transformer, 25M parameters": Network(
        Transformer, lambda: torch.randint(0, 5800, (8, 128)), lambda: torch.randint(0, 5800, (1024,)), 1
    ),
    "digits MLP, 51k parameters": Network(
        lambda: make_mlp((64, 256, 128, 10)), lambda: torch.randn(64, 64), lambda: torch.randint(0, 10, (64,)), 8
    ),
}


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    console = Console()
    found: dict[str, Any] = {"environment": this_environment("float32").model_dump(), "networks": {}}
    table = Table("network", "optimizer", "step, ms", "the box takes", "95 % interval", "inside", "no box again", "MiB")
    for name, network in NETWORKS.items():
        rows = found["networks"][name] = {}
        for optimizer, make in OPTIMIZERS.items():
            row = rows[optimizer] = measured(network, make, seconds)
            low, high = row["interval"]
            table.add_row(
                name, optimizer, f"{row['step_ms']:.3g}", f"{row['share']:.2%}", f"{low:.2%} to {high:.2%}",
                f"{row['share_inside']:.2%}", f"{row['share_without']:.2%}", f"{row['bytes'] / 2**20:.3g}",
            )  # fmt: skip
    console.print(table)
    write_page(found)
    RESULTS.parent.mkdir(exist_ok=True)
    write_atomic(RESULTS, json.dumps(found, indent=1).encode())
    console.print(f"written: {RESULTS}")


def page_table(found: dict[str, Any]) -> str:
    """Return what was measured as Markdown, with the machine."""
    rows = [
        "| network | optimizer | step, ms | the box takes | 95% interval | inside of its calls | memory, MiB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for network, optimizers in found["networks"].items():
        for optimizer, row in optimizers.items():
            low, high = row["interval"]
            cells = [
                network, optimizer, f"{row['step_ms']:.3g}", f"{row['share']:.1%}", f"{low:.1%} to {high:.1%}",
                f"{row['share_inside']:.2%}", f"{row['bytes'] / 2**20:.3g}",
            ]  # fmt: skip
            rows.append(f"| {' | '.join(cells)} |")
    where = found["environment"]
    machine = f"{where['processor']}, {where['cores']} cores, {where['threads']} threads, torch {where['torch']}."
    return "\n".join([*rows, "", machine])


def write_page(found: dict[str, Any]) -> None:
    """Write the table into the documentation."""
    text = with_block(PAGE.read_text(encoding="utf-8"), "recorder", "benchmarks/recorder.py", page_table(found))
    write_atomic(PAGE, text.encode())


def measured(network: Network, make: Make, seconds: float) -> dict[str, Any]:
    """Return the time of a step, the share that the box adds, and the bytes that it holds.

    The network, its gradients and its optimizer are the same ones in all turns, because where memory lies matters more
    than what is measured; a box is open only during its turns. Where a step takes a second, its noise is larger than
    what the box does, so the time inside of the calls of the box is measured too, in steps of its own.
    """
    torch.manual_seed(0)
    model, inputs, targets = network.make(), network.inputs(), network.targets()
    optimizer = make(model.parameters())
    box = steadystep.blackbox(model, optimizer, None)
    box._measures.detach()

    def turn(with_box: BlackBox | None) -> float:
        if with_box is None:
            with box._clock.left_out():
                return steps(None)
        box._measures.attach(box._after_step)
        elapsed = steps(box)
        box._measures.detach()
        return elapsed

    def steps(box: BlackBox | None) -> float:
        started = time.perf_counter()
        for _ in range(network.turn):
            _step(model, optimizer, inputs, targets, box)
        return (time.perf_counter() - started) / network.turn

    for each in (None, box) * 8:
        turn(each)
    orders: list[tuple[BlackBox | None, ...]] = [(None, box, None), (box, None, None), (None, None, box)]
    times: list[tuple[float, float, float]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 12:
        plain: list[float] = []
        boxed = 0.0
        for each in orders[len(times) % len(orders)]:
            if each is None:
                plain.append(turn(None))
            else:
                boxed = turn(each)
        times.append((plain[0], plain[1], boxed))
    first, second, with_box = np.array(times).T
    ratios = with_box / ((first + second) / 2) - 1.0
    random = np.random.default_rng(0)
    replicates = [np.median(random.choice(ratios, len(ratios))) for _ in range(2000)]
    return {
        "step_ms": 1e3 * median((*first, *second)),
        "share": float(np.median(ratios)),
        "interval": np.quantile(replicates, [0.025, 0.975]).tolist(),
        "share_of_mean": float(with_box.mean() / ((first + second) / 2).mean() - 1.0),
        "share_inside": _inside(lambda: steps(box), box, seconds / 4),
        "share_without": float(np.median(second / first) - 1.0),
        "rounds": len(times),
        "bytes": box.nbytes,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _inside(steps: Callable[[], float], box: BlackBox, seconds: float) -> float:
    """Return the share of the time of steps that passes inside of the calls of the box."""
    inside = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal inside
            started = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                inside += time.perf_counter() - started

        return call

    box._measures.attach(timed(box._after_step))
    with patch.multiple(box, batch=timed(box.batch), loss=timed(box.loss)):
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            steps()
        elapsed = time.perf_counter() - started
    box._measures.detach()
    return inside / elapsed


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    box: BlackBox | None,
) -> None:
    if box is not None:
        box.batch((inputs, targets))
    loss = nn.functional.cross_entropy(model(inputs), targets)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if box is not None:
        box.loss(loss)


if __name__ == "__main__":
    main()
