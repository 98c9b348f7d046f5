"""`python -m benchmarks.low_bit`: compact moments beside torchao's optimizers with moments of 8 bits.

AdamW steps in turns in one process, on one matrix, without clipping, which torchao does not have. Needs torchao.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import steadystep
from benchmarks.interleaved import race
from benchmarks.written_block import publish
from steadystep.lab.training.environment import this_environment

RESULTS = Path(__file__).parent / "results" / "low_bit.json"
PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "mixed-precision.md"
SIZE, LR, SECONDS, STEPS = 2048, 1e-3, 20.0, 100

Make = Callable[[torch.Tensor], torch.optim.Optimizer]


def makers() -> dict[str, Make]:
    """Return the optimizers by name; the first one is what the others are compared with."""
    from torchao.optim import AdamW8bit  # pyright: ignore[reportMissingImports]

    return {
        "float32": lambda p: steadystep.AdamW([p], lr=LR),
        "bfloat16": lambda p: steadystep.AdamW([p], lr=LR, state_dtype=torch.bfloat16),
        "torchao 8 bits": lambda p: AdamW8bit([p], lr=LR),
    }


def bytes_of(value: Any) -> int:
    """Return the size of a tensor, or of the tensors that it consists of."""
    if not hasattr(value, "__tensor_flatten__"):
        return value.nbytes if isinstance(value, torch.Tensor) and value.dim() else 0
    return sum(bytes_of(getattr(value, name)) for name in value.__tensor_flatten__()[0])


def drift(make: Make, reference: torch.Tensor | None) -> tuple[torch.Tensor, float]:
    """Return where a matrix is after some steps, and how far that is from the reference, as a share of the way."""
    random = torch.Generator().manual_seed(0)
    parameter = torch.randn(SIZE, SIZE, generator=random).requires_grad_()
    start, optimizer = parameter.detach().clone(), make(parameter)
    for _ in range(STEPS):
        parameter.grad = torch.randn(SIZE, SIZE, generator=random) + 0.1
        optimizer.step()
    end = parameter.detach()
    away = end - (end if reference is None else reference)
    return end, (away.norm() / (end - start).norm()).item()


def measure(seconds: float = SECONDS) -> dict[str, Any]:
    steps, sizes, drifts, reference = {}, {}, {}, None
    for name, make in makers().items():
        parameter = torch.randn(SIZE, SIZE).requires_grad_()
        parameter.grad = torch.randn(SIZE, SIZE)
        optimizer = make(parameter)
        optimizer.step()  # compiles
        sizes[name] = sum(map(bytes_of, optimizer.state[parameter].values())) / parameter.numel()
        steps[name] = optimizer.step
        end, drifts[name] = drift(make, reference)
        reference = end if reference is None else reference
    times = race(steps, seconds)
    return {
        "environment": this_environment("float32").model_dump(),
        "median_ms": {name: timing.median_ms for name, timing in times.items()},
        "bytes_per_parameter": sizes,
        "drift": drifts,
    }


def sentence(found: dict[str, Any]) -> str:
    """Return what was measured, for the page about precision."""
    times, sizes, drifts, environment = (
        found[name] for name in ("median_ms", "bytes_per_parameter", "drift", "environment")
    )
    other = "torchao 8 bits"
    return (
        f"torchao's `AdamW8bit` stores {sizes[other]:.1f} bytes per parameter instead of {sizes['bfloat16']:.1f}. "
        f"On one matrix of {SIZE} x {SIZE}, its step takes {times[other] / times['bfloat16']:.0f} times as long as "
        f"ours with compact moments ({environment['processor']}, {environment['threads']} threads; medians of steps "
        f"that took turns). After {STEPS} steps it is {drifts[other]:.2%} of the way from where float32 moments lead, "
        f"and ours {drifts['bfloat16']:.2%}."
    )


def main() -> None:
    found = measure()
    publish(found, RESULTS, sentence(found), PAGE, "low-bit", "python -m benchmarks.low_bit")


if __name__ == "__main__":
    main()
