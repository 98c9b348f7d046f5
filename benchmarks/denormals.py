"""`python -m benchmarks.denormals`: time steps of Adam whose moments have underflowed, ours and torch's fused ones.

A parameter without gradients (a rare row of an embedding, a dead unit) has moments that decay into denormal numbers.
Both optimizers step with such moments and with usual ones, in turns in one process.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

import steadystep
from benchmarks.interleaved import race
from steadystep.lab.system.atomic import write_atomic
from steadystep.lab.training.environment import this_environment

RESULTS = Path(__file__).parent / "results" / "denormals.json"
SHAPES = [(1 << 20,), (8,)]
"""A large parameter, and a small one that always has a gradient."""

SECONDS = 20.0
MAKERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "steadystep": partial(steadystep.Adam, lr=1e-3),
    "torch fused": partial(torch.optim.Adam, lr=1e-3, fused=True),
}


def step_of(make: Callable[..., torch.optim.Optimizer], underflowed: bool) -> Callable[[], object]:
    """Return the step of an optimizer with usual gradients, or without any since its moments became 1e-40."""
    params = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    optimizer = make(params)
    for param in params:
        param.grad = torch.randn_like(param)
    optimizer.step()
    if underflowed:
        large = params[0]
        assert large.grad is not None
        large.grad.zero_()
        for value in optimizer.state[large].values():
            if value.shape == large.shape:
                value.fill_(1e-40)
    return optimizer.step


def measure(seconds: float = SECONDS) -> dict[str, Any]:
    contestants = {
        f"{name}, {kind}": step_of(make, kind == "underflowed")
        for name, make in MAKERS.items()
        for kind in ("usual", "underflowed")
    }
    times = {name: timing.median_ms for name, timing in race(contestants, seconds).items()}
    ratios = {name: times[f"{name}, underflowed"] / times[f"{name}, usual"] for name in MAKERS}
    return {"environment": this_environment("float32").model_dump(), "median_ms": times, "ratios": ratios}


def sentence(found: dict[str, Any]) -> str:
    """Return what was measured, for the documentation."""
    ours, torchs = found["ratios"].values()
    environment = found["environment"]
    return (
        f"With moments that have underflowed, a step of Adam takes {ours:.2f} of the time of a usual step here, and "
        f"{torchs:.0f} times as long in torch's fused one (2^20 parameters; {environment['processor']}, "
        f"{environment['threads']} threads; medians of steps that took turns)."
    )


def main() -> None:
    found = measure()
    write_atomic(RESULTS, json.dumps(found, indent=1).encode())
    print(sentence(found))


if __name__ == "__main__":
    main()
