"""Measure the overhead of the guard and the ledger, the cost of the first use, and the memory of optimizer states."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch

import steadystep
from benchmarks.interleaved import race
from benchmarks.shapes import Shapes
from benchmarks.steps import LR, MAX_NORM, ROWS, Row, Step, parameters
from steadystep.clipping.base import to_limit
from steadystep.clipping.transforms import Scale
from steadystep.kernels.dispatch import measure
from steadystep.optimizers.plan import Plan
from steadystep.tracing.verdict import Verdict


def guard_and_ledger(shapes: Shapes, seconds: float) -> dict[str, float]:
    """Compare a step of Adam with clipping to the same step without the guard and the ledger.

    "without" computes only the clipping factor and updates no counters. Every optimizer has to gather its gradients and
    look up its state; `passes_ms` leaves out even that.
    """
    params = parameters(shapes)
    optimizer = steadystep.Adam(params, clip=MAX_NORM, lr=LR["lr"])
    optimizer.step()
    # All contestants use the same tensors, because memory placement matters as much as the measured difference.
    contestants = {"with": optimizer.step, "without": _unguarded(optimizer), "passes": _passes(optimizer, params)}
    times = {name: timing.median_ms for name, timing in race(contestants, seconds).items()}
    return {
        **{f"{name}_ms": ms for name, ms in times.items()},
        "share": times["with"] / times["without"] - 1.0,
        "share_of_passes": times["with"] / times["passes"] - 1.0,
    }


def by_unit(shapes: Shapes, seconds: float) -> dict[str, float]:
    """Compare steps of Adam that clip unit by unit (AGC), and that clip the norm, to steps that do not clip."""
    clips: dict[str, Any] = {"no_clip": None, "norm": MAX_NORM, "agc": steadystep.AGC(0.01)}
    contestants = {
        name: steadystep.Adam(parameters(shapes), clip=clip, lr=LR["lr"]).step for name, clip in clips.items()
    }
    return {f"{name}_ms": timing.median_ms for name, timing in race(contestants, seconds).items()}


def _unguarded(optimizer: steadystep.Adam) -> Step:
    plan = _plan(optimizer)

    @torch.no_grad()
    def step() -> None:
        assert plan.renew(optimizer.param_groups, optimizer.state)
        _clip_and_apply(plan)

    return step


def _passes(optimizer: steadystep.Adam, params: Sequence[torch.nn.Parameter]) -> Step:
    plan = _plan(optimizer)

    @torch.no_grad()
    def step() -> None:
        plan.gradients.gradients[:] = [param.grad for param in params if param.grad is not None]
        _clip_and_apply(plan)

    return step


def _plan(optimizer: steadystep.Adam) -> Plan:
    plan = optimizer._plan
    assert plan is not None, "a step creates a plan"
    return plan


def _clip_and_apply(plan: Plan) -> None:
    factor, _ = to_limit(measure(plan.gradients).global_norm, MAX_NORM)
    plan.apply((Scale(factor),), Verdict(True), None)
    plan.gradients.release()


def first_use(repetitions: int = 3) -> dict[str, float]:
    """Time the import and the first step without and with cached kernels, in seconds, each in a separate process."""

    def seconds(code: str, cache: str) -> float:
        program = f"import time, torch; started = time.perf_counter(); {code}; print(time.perf_counter() - started)"
        command = [sys.executable, "-c", program]
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return float(done.stdout)

    step = (
        "import steadystep; p = torch.ones(3, requires_grad=True); p.grad = torch.ones(3); "
        "steadystep.Adam([p], clip=1.0).step()"
    )
    with tempfile.TemporaryDirectory() as cache:
        compiling = seconds(step, cache)
        cached = median(seconds(step, cache) for _ in range(repetitions))
        imported = median(seconds("import steadystep", cache) for _ in range(repetitions))
    return {
        "import_seconds": imported,
        "first_step_compiling_seconds": compiling,
        "first_step_seconds": cached,
    }


def bytes_per_parameter(shapes: Shapes) -> dict[str, float]:
    """Return the state size of each optimizer, in bytes per float32 parameter."""
    return {row.name: _state_bytes(row, shapes) for row in ROWS}


def slots(row: Row) -> int:
    """Return the number of state tensors per parameter that the update reads and writes."""
    return round(_state_bytes(row, [(1024,)]) / 4)


def _state_bytes(row: Row, shapes: Shapes) -> float:
    params = parameters(shapes)
    optimizer: Any = getattr(steadystep, row.name)(params, clip=MAX_NORM, **row.options)
    optimizer.step()
    sizes = {id(value): value.nbytes for state in optimizer.state.values() for value in state.values()}
    return sum(sizes.values()) / sum(param.numel() for param in params)
