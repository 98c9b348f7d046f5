"""Tests that need a CUDA device: full steps compared with the same steps on a CPU and with torch's optimizers."""

import copy
import io
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.nn import functional

import steadystep
from cases import CLIPPERS, OPTIMIZERS, ClipperCase, OptimizerCase

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

SHAPES = ((40_000,), (3, 4, 5), (1,), ())
"""In units of the kernels' chunks: two chunks and a remainder, less than a block, single numbers."""


def draw(shapes: Sequence[tuple[int, ...]], seed: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def parameters(devices: Sequence[str], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    both = zip(draw(SHAPES, 0, dtype), devices, strict=True)
    return [tensor.to(device, copy=True).requires_grad_() for tensor, device in both]


def train(optimizer: torch.optim.Optimizer, params: Sequence[torch.Tensor], steps: range) -> None:
    """Train with a NaN in the gradients of every third step."""
    for step in steps:
        for param, gradient in zip(params, draw(SHAPES, 1 + step, params[0].dtype), strict=True):
            if step % 3 == 2 and gradient.dim() == 3:
                gradient[0, 0, 0] = math.nan
            param.grad = gradient.to(param.device)
        optimizer.step()


def assert_same(ours: Sequence[torch.Tensor], reference: Sequence[torch.Tensor]) -> None:
    for mine, theirs in zip(ours, reference, strict=True):
        torch.testing.assert_close(mine.detach().cpu(), theirs.detach(), rtol=1e-12, atol=1e-14)


ON_CPU = ["cpu"] * len(SHAPES)
ON_DEVICE = ["cuda"] * len(SHAPES)
MIXED = ["cuda", "cpu", "cpu", "cuda"]


@pytest.mark.parametrize("devices", [ON_DEVICE, MIXED], ids=["device", "mixed"])
@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_a_device_computes_what_a_cpu_computes(case: OptimizerCase, devices: list[str]) -> None:
    """One optimizer may have parameters on both devices: they share one norm, and a step is skipped on both."""
    ours, reference = parameters(devices), parameters(ON_CPU)
    mine, theirs = case.make(ours, clip=1.0), case.make(reference, clip=1.0, backend="eager")
    train(mine, ours, range(7))
    train(theirs, reference, range(7))
    assert_same(ours, reference)
    counted = ("attempted", "applied", "skipped_nonfinite", "clipped")
    assert [mine.ledger[name] for name in counted] == [theirs.ledger[name] for name in counted] == [7, 5, 2, 5]
    assert mine.ledger["norm_after"] == pytest.approx(theirs.ledger["norm_after"], rel=1e-12)
    assert mine.ledger["running_norm_before"] == pytest.approx(theirs.ledger["running_norm_before"], rel=1e-12)


@pytest.mark.parametrize("clipper", CLIPPERS, ids=str)
def test_every_clipper_decides_the_same(clipper: ClipperCase) -> None:
    ours, reference = parameters(ON_DEVICE), parameters(ON_CPU)
    mine = steadystep.AdamW(ours, lr=0.01, clip=clipper.make())
    theirs = steadystep.AdamW(reference, lr=0.01, clip=clipper.make())
    train(mine, ours, range(12))
    train(theirs, reference, range(12))
    assert_same(ours, reference)


@pytest.mark.parametrize(("start", "end"), [(ON_CPU, ON_DEVICE), (ON_DEVICE, ON_CPU)], ids=["to", "from"])
@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_a_checkpoint_moves_between_devices(case: OptimizerCase, start: list[str], end: list[str]) -> None:
    clip = steadystep.AutoClip(50, window=8)
    reference = parameters(ON_CPU)
    train(case.make(reference, clip=copy.deepcopy(clip), backend="eager"), reference, range(8))
    params = parameters(start)
    optimizer = case.make(params, clip=copy.deepcopy(clip))
    train(optimizer, params, range(4))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    moved = [param.detach().to(device).requires_grad_() for param, device in zip(params, end, strict=True)]
    resumed = case.make(moved, clip=copy.deepcopy(clip))
    resumed.load_state_dict(torch.load(file, weights_only=True))
    train(resumed, moved, range(4, 8))
    assert_same(moved, reference)
    assert resumed.ledger["attempted"] == 8


def trained(make: Any, scaler: torch.amp.GradScaler | None) -> tuple[list[float], steadystep.Optimizer]:
    """Train a small network with float16 autocast; return the loss of each step, and the optimizer."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)).cuda()
    optimizer = make(model.parameters())
    x = torch.randn(256, 16, device="cuda")
    y = (x[:, :4] * 2).argmax(1)
    losses = []
    for _ in range(60):
        with torch.autocast("cuda", torch.float16):
            loss = functional.cross_entropy(model(x), y)
        losses.append(loss.item())
        optimizer.zero_grad()
        if scaler is None:
            loss.backward()
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    return losses, optimizer


@pytest.mark.parametrize(("name", "lr"), [("Adam", 0.05), ("LAMB", 0.05), ("SGD", 0.5)])
def test_a_grad_scaler_finds_its_scale(name: str, lr: float) -> None:
    """The initial scale overflows float16: steps are skipped and counted until the scale fits."""
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**30)
    losses, optimizer = trained(lambda params: OptimizerCase(name).make(params, lr=lr, clip=1.0), scaler)
    skipped = optimizer.ledger["skipped_nonfinite"]
    assert skipped > 0
    assert scaler.get_scale() == 2.0 ** (30 - skipped)
    assert optimizer.ledger["applied"] == 60 - skipped
    assert all(map(math.isfinite, losses))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_grad_scaler_does_not_change_the_step(clip: float | None) -> None:
    """Scaling by a power of two is exact in float32, and differences in float16 rounding stay small."""
    with_scaler, _ = trained(
        lambda params: steadystep.Adam(params, lr=0.01, clip=clip), torch.amp.GradScaler("cuda", init_scale=2.0**10)
    )
    without, _ = trained(lambda params: steadystep.Adam(params, lr=0.01, clip=clip), None)
    assert with_scaler == pytest.approx(without, rel=0.02, abs=0.005)


@pytest.mark.parametrize("form", [{"fused": True}, {"foreach": True}, {"capturable": True}], ids=str)
def test_any_torch_optimizer_is_guarded(form: Any) -> None:
    ours, theirs = parameters(ON_DEVICE, torch.float32), parameters(ON_DEVICE, torch.float32)
    guarded: Any = steadystep.guard(torch.optim.Adam(ours, lr=0.01, **form), clip=1.0)
    reference = torch.optim.Adam(theirs, lr=0.01, **form)
    for step in (0, 1, 2, 3):
        train(guarded, ours, range(step, step + 1))
        if step % 3 != 2:
            for param, gradient in zip(theirs, draw(SHAPES, 1 + step, torch.float32), strict=True):
                param.grad = gradient.cuda()
            torch.nn.utils.clip_grad_norm_(theirs, 1.0)
            reference.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)
    assert guarded.ledger["skipped_nonfinite"] == 1


def test_a_side_stream() -> None:
    """A step launches all of its work on the current stream."""
    ours, reference = parameters(ON_DEVICE), parameters(ON_CPU)
    optimizer = steadystep.Adam(ours, lr=0.01, clip=1.0)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        big = torch.randn(4096, 4096, device="cuda")
        for _ in range(10):
            big = (big @ big).tanh()  # work that the steps must wait for
        train(optimizer, ours, range(5))
    side.synchronize()
    train(steadystep.Adam(reference, lr=0.01, clip=1.0), reference, range(5))
    assert_same(ours, reference)


@pytest.mark.slow
def test_more_elements_than_32_bits_can_index() -> None:
    """This test needs 13 GB of device memory."""
    size = 2**31 + 20_000
    param = torch.ones(size, dtype=torch.bfloat16, device="cuda", requires_grad=True)
    param.grad = torch.zeros_like(param)
    param.grad[-1] = param.grad[2**31 - 1] = 3.0
    param.grad[0] = -4.0
    optimizer = steadystep.SGD([param], lr=0.25)
    optimizer.step()
    assert optimizer.ledger["norm_before"] == pytest.approx(34**0.5)
    values = param.detach()
    assert [values[position].item() for position in (0, 2**31 - 1, size - 1)] == [2.0, 0.25, 0.25]
    assert values[1 : 2**31 - 1].min().item() == values[2**31 : size - 1].max().item() == 1.0
