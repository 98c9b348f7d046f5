"""Test ClipUpdate: it bounds the largest updates, leaves smaller ones unchanged, and counts what it clips."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import steadystep
from cases import OPTIMIZERS, OptimizerCase

backends = pytest.mark.parametrize("backend", ["numba", "eager", "triton"])


def step(optimizer: steadystep.Optimizer, param: torch.Tensor, gradient: torch.Tensor) -> float:
    """Take a step and return the root mean square of the parameter's change, divided by the learning rate."""
    before = param.detach().double().clone()
    param.grad = gradient
    with np.errstate(over="ignore"):  # Triton's interpreter computes in NumPy
        optimizer.step()
    moved = (param.detach().double() - before) / optimizer.param_groups[0]["lr"]
    scale = moved.abs().max().item() or 1.0
    return scale * (moved / scale).square().mean().sqrt().item()


@backends
@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float32, 1e18), (torch.float32, 1e10), (torch.float64, 1e153), (torch.float64, 1e100)]
)
def test_the_largest_updates_are_bounded(dtype: torch.dtype, size: float, backend: str) -> None:
    """The square of an update of 1e20 overflows float32, and that of 1e155 overflows float64."""
    param = torch.zeros(5, dtype=dtype, requires_grad=True)
    optimizer = steadystep.SGD([param], lr=100.0, clip=steadystep.ClipUpdate(0.5), backend=backend)
    assert step(optimizer, param, torch.full((5,), size, dtype=dtype)) == pytest.approx(0.5, rel=1e-6)
    assert optimizer.ledger["clipped"] == 1


@backends
@pytest.mark.parametrize("at", [0.0, 1.0, 100.0])
def test_an_update_within_the_bound_is_neither_changed_nor_counted(at: float, backend: str) -> None:
    """In float32, 1 - 1e-6 is rounded to a multiple of 6e-8; this rounding error is not part of the update."""
    ours, plain = (torch.full((1000,), at, requires_grad=True) for _ in range(2))
    mine = steadystep.SGD([ours], lr=1e-6, clip=steadystep.ClipUpdate(1.0), backend=backend)
    reference = steadystep.SGD([plain], lr=1e-6, backend=backend)
    for param, optimizer in ((ours, mine), (plain, reference)):
        step(optimizer, param, torch.ones(1000))
    assert mine.ledger["clipped"] == 0 and torch.equal(ours, plain)
    step(mine, ours, torch.full((1000,), 1.0 + 1e-6))
    assert mine.ledger["clipped"] == 1


@backends
@pytest.mark.parametrize("lr", [0.0, torch.tensor(0.0), torch.tensor(0.5)], ids=str)
def test_any_learning_rate(lr: Any, backend: str) -> None:
    param = torch.ones(3, requires_grad=True)
    optimizer = steadystep.SGD([param], lr=lr, clip=steadystep.ClipUpdate(1.0), backend=backend)
    step(optimizer, param, torch.full((3,), 10.0))
    assert param.tolist() == pytest.approx([1.0 - float(lr)] * 3)
    assert optimizer.ledger["clipped"] == (float(lr) > 0)


@pytest.mark.parametrize("bound", [0.05, 0.5])
@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_the_backends_agree(case: OptimizerCase, bound: float) -> None:
    compiled, eager = (torch.linspace(-1, 1, 7).double().requires_grad_() for _ in range(2))
    pairs = [
        (param, case.make([param], clip=[steadystep.ClipNorm(5.0), steadystep.ClipUpdate(bound)], backend=backend))
        for param, backend in ((compiled, "numba"), (eager, "eager"))
    ]
    generator = torch.Generator().manual_seed(0)
    for number in range(8):
        gradient = torch.randn(7, generator=generator).double() * 10.0 ** (number % 3 - 1)
        for param, optimizer in pairs:
            step(optimizer, param, gradient)
        assert pairs[0][1].ledger["clipped"] == pairs[1][1].ledger["clipped"]
    torch.testing.assert_close(compiled, eager, rtol=1e-12, atol=1e-14)
    assert math.isfinite(compiled.sum().item())
