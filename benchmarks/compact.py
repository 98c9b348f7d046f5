"""`python -m benchmarks.compact`: time clipped Adam with moments in bfloat16 and float32, and torch's fused one.

They step in turns in one process, on the shapes of ResNet-50.
"""

from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_

import steadystep
from benchmarks.interleaved import race
from benchmarks.shapes import MODELS
from benchmarks.steps import LR, MAX_NORM, Step, parameters
from benchmarks.written_block import publish
from steadystep.lab.training.environment import this_environment

RESULTS = Path(__file__).parent / "results" / "compact.json"
PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "mixed-precision.md"
MODEL, SECONDS = "ResNet-50", 30.0


def ours(state_dtype: torch.dtype | None) -> tuple[Step, float]:
    """Return the clipped step, and the bytes of state per parameter."""
    params = parameters(MODELS[MODEL]())
    optimizer = steadystep.Adam(params, clip=MAX_NORM, lr=LR["lr"], state_dtype=state_dtype)
    optimizer.step()
    state = [value for entry in optimizer.state.values() for value in entry.values() if value.dim()]
    return optimizer.step, sum(value.nbytes for value in state) / sum(param.numel() for param in params)


def fused() -> Step:
    """Return torch's clipping and fused step."""
    params = parameters(MODELS[MODEL]())
    optimizer = torch.optim.Adam(params, lr=LR["lr"], fused=True)

    def step() -> None:
        clip_grad_norm_(params, MAX_NORM)
        optimizer.step()

    return step


def measure(seconds: float = SECONDS) -> dict[str, Any]:
    precise, compact = ours(None), ours(torch.bfloat16)
    times = race({"float32": precise[0], "bfloat16": compact[0], "torch fused": fused()}, seconds)
    return {
        "environment": this_environment("float32").model_dump(),
        "median_ms": {name: timing.median_ms for name, timing in times.items()},
        "bytes_per_parameter": {"float32": precise[1], "bfloat16": compact[1]},
    }


def sentence(found: dict[str, Any]) -> str:
    """Return what was measured, for the page about precision."""
    times, environment = found["median_ms"], found["environment"]
    return (
        f"A clipped step of Adam on the shapes of {MODEL} takes {times['bfloat16'] / times['float32']:.2f} of the time "
        f"with float32 moments, and {times['bfloat16'] / times['torch fused']:.2f} of that of torch's fused step with "
        f"`clip_grad_norm_` ({environment['processor']}, {environment['threads']} threads; medians of steps that took "
        f"turns). The state takes {found['bytes_per_parameter']['bfloat16']:.1f} bytes per parameter instead of "
        f"{found['bytes_per_parameter']['float32']:.1f}."
    )


def main() -> None:
    found = measure()
    publish(found, RESULTS, sentence(found), PAGE, "compact", "python -m benchmarks.compact")


if __name__ == "__main__":
    main()
