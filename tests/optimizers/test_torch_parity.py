"""Optimizers with the same definition as torch's give the same numbers as torch's."""

import pytest
import torch

from cases import OPTIMIZERS, OptimizerCase

pytestmark = pytest.mark.usefixtures("double_by_default")

PEERS = [case for case in OPTIMIZERS if case.peer]


def trajectory(optimizer: torch.optim.Optimizer, params: list[torch.Tensor], steps: int, idle: bool) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    path = []
    for step in range(steps):
        scale = 10.0 ** (3 * torch.rand((), generator=generator, dtype=torch.float64) - 1.5)
        for param in params:
            param.grad = torch.randn(param.shape, generator=generator, dtype=torch.float64).to(param.dtype) * scale
        if idle and step % 5 == 3:
            params[1].grad = None
        optimizer.step()
        path.append(torch.cat([param.detach().flatten() for param in params]).double())
    return torch.stack(path)


def fresh(dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3), (3,), ())
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]


@pytest.mark.parametrize("idle", [False, True], ids=["all step", "one at times without gradient"])
@pytest.mark.parametrize("case", PEERS, ids=str)
def test_the_trajectory_is_that_of_torch(case: OptimizerCase, idle: bool) -> None:
    assert case.peer is not None
    ours, theirs = fresh(torch.float64), fresh(torch.float64)
    got = trajectory(case.make(ours), ours, 60, idle)
    want = trajectory(case.peer(theirs, **case.options), theirs, 60, idle)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", PEERS, ids=str)
def test_clipping_is_clip_grad_norm_and_then_torchs_step(case: OptimizerCase) -> None:
    assert case.peer is not None
    ours, theirs = fresh(torch.float64), fresh(torch.float64)
    mine, peer = case.make(ours, clip=1.0), case.peer(theirs, **case.options)
    generator = torch.Generator().manual_seed(2)
    for _ in range(30):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = 3 * torch.randn(a.shape, generator=generator, dtype=torch.float64)
            b.grad = a.grad.clone()
        raw = [param.grad.clone() for param in ours if param.grad is not None]
        total = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in raw]))
        for param in theirs:
            assert param.grad is not None
            param.grad *= torch.clamp(1.0 / total, max=1.0)
        mine.step()
        peer.step()
        for param, before in zip(ours, raw, strict=True):
            assert torch.equal(param.grad, before), "a step must not change .grad"  # type: ignore[arg-type]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", PEERS, ids=str)
def test_checkpoints_load_in_both_directions(case: OptimizerCase) -> None:
    """Ten steps with one optimizer and ten with the other, in either order, equal twenty steps with torch's."""
    assert case.peer is not None

    def split(first: type | None, second: type | None) -> torch.Tensor:
        params = fresh(torch.float64)
        a = first(params, **case.options) if first else case.make(params)
        trajectory(a, params, 10, idle=False)
        b = second(params, **case.options) if second else case.make(params)
        b.load_state_dict(a.state_dict())
        return trajectory(b, params, 10, idle=False)

    want = split(case.peer, case.peer)
    torch.testing.assert_close(split(None, case.peer), want, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(split(case.peer, None), want, rtol=1e-12, atol=1e-14)
