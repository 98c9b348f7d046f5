"""Statistics of clippers after loading a checkpoint with different options, a different clipper, or more tensors."""

from typing import Any

import pytest
import torch

import steadystep
from cases import CLIPPERS

STATEFUL = {type(case.make()).__name__: case.make for case in CLIPPERS if case.make().start(1)}


def gradient(step: int, size: int = 10) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def train(optimizer: Any, steps: range) -> list[float]:
    """Train and return the gradient norm after clipping in every step."""
    norms = []
    for step in steps:
        for group in optimizer.param_groups:
            for param in group["params"]:
                param.grad = gradient(step, param.numel())
        optimizer.step()
        norms.append(optimizer.ledger["norm_after"])
    return norms


def make(clip: Any) -> steadystep.Optimizer:
    return steadystep.SGD([torch.zeros(10, dtype=torch.float64, requires_grad=True)], lr=0.1, clip=clip)


def resumed(old: steadystep.Optimizer, clip: Any) -> steadystep.Optimizer:
    optimizer = make(clip)
    optimizer.load_state_dict(old.state_dict())
    return optimizer


def statistics(optimizer: torch.optim.Optimizer) -> list[str]:
    return [name for name in optimizer.param_groups[0] if name.startswith("clip.")]


@pytest.mark.parametrize("after", STATEFUL)
@pytest.mark.parametrize("before", STATEFUL)
def test_another_clipper_starts_with_new_statistics(before: str, after: str) -> None:
    """A clipper that inherited the step count of another once had a mean of 0 and clipped every gradient to 0."""
    if before == after:
        return
    old = make(STATEFUL[before]())
    train(old, range(50))
    optimizer = resumed(old, STATEFUL[after]())
    assert train(optimizer, range(30)) == train(make(STATEFUL[after]()), range(30))
    assert all(after in name for name in statistics(optimizer)), "the statistics of the other clipper are dropped"
    assert optimizer.ledger["attempted"] == 80


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (steadystep.SkipOutlier(window=128), steadystep.SkipOutlier(window=100)),
        (steadystep.AutoClip(30, window=20), steadystep.AutoClip(30, window=50)),
    ],
    ids=["SkipOutlier", "AutoClip"],
)
def test_another_window_starts_with_new_statistics(old: steadystep.Clipper, new: steadystep.Clipper) -> None:
    """All statistics restart: with the old step count and an empty window, the first norms were once outliers."""
    first = make(old)
    train(first, range(100))
    optimizer = resumed(first, new)
    assert train(optimizer, range(100)) == train(make(new), range(100))
    assert optimizer.ledger["skipped_outlier"] == 0


def test_a_clipper_with_the_same_statistics_continues() -> None:
    old = make(steadystep.ZClip(warmup=5))
    train(old, range(50))
    optimizer = resumed(old, steadystep.ZClip(threshold=3.0, warmup=5))
    train(optimizer, range(1))
    assert optimizer.param_groups[0]["clip.0.ZClip.steps"] == 51


@pytest.mark.parametrize("resume", [False, True])
def test_a_group_added_later_does_not_change_the_statistics_of_other_tensors(resume: bool) -> None:
    optimizer = make(steadystep.AdaGC(warmup=5))
    train(optimizer, range(30))
    known = optimizer.param_groups[0]["clip.0.AdaGC.gammas"].clone()
    if resume:
        optimizer = resumed(optimizer, steadystep.AdaGC(warmup=5))
    optimizer.add_param_group({"params": [torch.zeros(4, dtype=torch.float64, requires_grad=True)]})
    first, second = (group["params"][0] for group in optimizer.param_groups)
    first.grad, second.grad = 1000 * gradient(30), torch.full((4,), 7.0, dtype=torch.float64)
    optimizer.step()
    assert optimizer.param_groups[0]["clip.0.AdaGC.steps"] == 31
    gammas = optimizer.param_groups[0]["clip.0.AdaGC.gammas"]
    assert gammas[0].item() == pytest.approx(known.item() * (0.98 + 0.02 * 1.05))
    assert gammas[1].item() == 14.0  # its first norm that is not 0
