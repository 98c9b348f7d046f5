"""No step leaves a denormal number in the state: a processor would compute with it ten times as slowly, for ever."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import steadystep
from cases import OPTIMIZERS, OptimizerCase
from steadystep.kernels.cpu.intrinsics import FLUSHED
from steadystep.kernels.cpu.update_kernel import BLOCK
from steadystep.kernels.precision import flushed

pytestmark = pytest.mark.filterwarnings("ignore:all gradients are exactly 0")

TINY = {torch.float32: 1e-40, torch.float64: 1e-310}
"""A denormal number of each dtype of a state."""


def slots(optimizer: steadystep.Optimizer, param: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the state of a parameter that has one number per element."""
    state = optimizer.state[param]
    return {name: value for name, value in state.items() if value.shape == param.shape}


def after_underflow(case: OptimizerCase, backend: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return the state after a step without a gradient from a state of denormal numbers."""
    param = torch.ones(BLOCK + 3, dtype=dtype, requires_grad=True)
    optimizer = case.make([param], backend=backend)
    for size in (1.0, 0.0):
        param.grad = torch.full_like(param, size)
        for value in slots(optimizer, param).values():
            value.fill_(TINY[value.dtype])
        optimizer.step()
    assert optimizer.ledger["applied"] == 2
    return slots(optimizer, param)


@pytest.mark.parametrize("backend", ["eager", "numba"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_no_state_is_denormal(case: OptimizerCase, dtype: torch.dtype, backend: str) -> None:
    state = after_underflow(case, backend, dtype)
    for name, value in state.items():
        normal = torch.finfo(value.dtype).tiny
        assert bool(((value == 0) | (value.abs() >= normal)).all()), name


@given(st.floats(width=32) | st.floats(-(2.0**-125), 2.0**-125, width=32))
def test_only_denormal_numbers_become_zero(number: float) -> None:
    expected = 0.0 if abs(number) < float(np.finfo(np.float32).tiny) else number
    for found in (flushed(torch.tensor([number])).item(), FLUSHED["float32"](np.float32(number))):
        assert found == expected or (math.isnan(found) and math.isnan(expected))


@given(st.floats() | st.floats(-(2.0**-1021), 2.0**-1021))
def test_in_float64_too(number: float) -> None:
    expected = 0.0 if abs(number) < float(np.finfo(np.float64).tiny) else number
    for found in (flushed(torch.tensor([number], dtype=torch.float64)).item(), FLUSHED["float64"](number)):
        assert found == expected or (math.isnan(found) and math.isnan(expected))


@pytest.mark.parametrize("backend", ["eager", "numba"])
def test_a_moment_without_gradients_ends_at_zero(backend: str) -> None:
    """Torch's ends at a denormal number that rounding keeps where it is."""
    param = torch.ones(4, requires_grad=True)
    optimizer = steadystep.Adam([param], backend=backend)
    for step in range(1_000):
        param.grad = torch.full_like(param, float(step == 0))
        optimizer.step()
    assert not optimizer.state[param]["exp_avg"].any() and optimizer.state[param]["exp_avg_sq"].all()
