"""Chains of clippers and AGC with half-precision gradients: the ledger records the norms that the update rule uses."""

import math
from typing import Any

import pytest
import torch

import steadystep

halves = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
backends = pytest.mark.parametrize("backend", ["numba", "eager"])
CHAINS: dict[str, Any] = {
    "value, norm": [steadystep.ClipValue(0.3), 1.0],
    "norm, value": [1.0, steadystep.ClipValue(0.05)],
    "AGC": steadystep.AGC(0.02),
    "AGC, norm": [steadystep.AGC(0.02), 0.1],
    "value, value, norm": [steadystep.ClipValue(0.3), steadystep.ClipValue(0.1), 1.0],
    "norm by tensor, AGC": [steadystep.ClipNorm(0.7, "parameter"), steadystep.AGC(0.02)],
}
SHAPES = ((40, 25), (7,), ())


def stepped(params: list[torch.Tensor], clip: Any, gradients: list[torch.Tensor], **options: Any) -> Any:
    optimizer = steadystep.SGD(params, lr=1.0, clip=clip, **options)
    for param, gradient in zip(params, gradients, strict=True):
        param.grad = gradient
    optimizer.step()
    return optimizer


def draw(dtype: torch.dtype) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    params = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in SHAPES]
    return params, [torch.randn(shape, generator=generator).to(dtype) for shape in SHAPES]


@backends
@halves
@pytest.mark.parametrize("chain", CHAINS)
def test_half_precision_agrees_with_float64(chain: str, dtype: torch.dtype, backend: str) -> None:
    """No intermediate result of the norms or of the update is rounded to half precision."""
    params, gradients = draw(dtype)
    wide = [param.detach().double().requires_grad_() for param in params]
    mine = stepped(params, CHAINS[chain], gradients, backend=backend)
    reference = stepped(wide, CHAINS[chain], [gradient.double() for gradient in gradients], backend=backend)
    for name in ("norm_before", "norm_after", "clipped"):
        assert mine.ledger[name] == pytest.approx(reference.ledger[name], rel=1e-6)
    for param, other in zip(params, wide, strict=True):
        rounded = other.detach().to(dtype)  # float32 rounding may rarely change the last digit
        assert torch.equal(param.detach(), rounded) or (param.detach() != rounded).float().mean() < 0.01


@halves
@pytest.mark.parametrize("chain", CHAINS)
def test_the_ledger_records_the_norm_of_the_update(chain: str, dtype: torch.dtype) -> None:
    params, gradients = draw(dtype)
    start = [param.detach().double() for param in params]
    optimizer = stepped(params, CHAINS[chain], gradients, rounding="kahan")  # which stores the rounding error
    moved = [
        (param.detach().double() + optimizer.state[param]["rounding_error"].double() - old).flatten()
        for param, old in zip(params, start, strict=True)
    ]
    assert torch.cat(moved).norm().item() == pytest.approx(optimizer.ledger["norm_after"], rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1024.0, 65536.0])
def test_units_too_small_for_float16_under_a_grad_scaler(scale: float) -> None:
    """Unscaling in float16 once missed a bound of 1e-7, about the second smallest float16, by a quarter."""
    weight = torch.zeros(8, 8, dtype=torch.float16, requires_grad=True)
    optimizer = steadystep.SGD([weight], lr=1.0, clip=steadystep.AGC(1e-4), rounding="kahan")
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    scaler.scale(torch.zeros(1))
    weight.grad = (torch.full((8, 8), 2e-6) * scale).half()
    scaler.step(optimizer)
    moved = weight.detach().double() + optimizer.state[weight]["rounding_error"].double()
    assert moved[0].norm().item() == pytest.approx(1e-7, rel=1e-5)
    assert optimizer.ledger["norm_after"] == pytest.approx(1e-7 * math.sqrt(8), rel=1e-5)


@halves
def test_clip_gradients_measures_as_it_writes(dtype: torch.dtype) -> None:
    weight = torch.zeros(1000, dtype=dtype, requires_grad=True)
    weight.grad = torch.full((1000,), 2.0, dtype=dtype)
    steadystep.clip_gradients([weight], [steadystep.ClipValue(0.3), 1.0])
    want = torch.full((1000,), 1000**-0.5).to(dtype)
    assert torch.equal(weight.grad, want)
