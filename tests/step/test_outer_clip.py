"""Gradients that were clipped before the step are noticed, counted and told once; other gradients are not."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn

import steadystep

MAKE: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "compiled": steadystep.AdamW,
    "eager": lambda params, **options: steadystep.AdamW(params, backend="eager", **options),
    "clipped": lambda params, **options: steadystep.AdamW(params, clip=10.0, **options),
    "guard": lambda params, **options: steadystep.guard(torch.optim.AdamW(params, **options)),
}


def train(make: Callable[..., torch.optim.Optimizer], outer: Callable[[list[nn.Parameter]], object]) -> dict[str, int]:
    """Take steps on different batches, each after an outer clip, and return the ledger."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = make(list(model.parameters()), lr=1e-3)
    for _ in range(12):
        optimizer.zero_grad()
        (4.0 * model(torch.randn(5, 6)) - torch.randn(5, 1)).square().mean().backward()
        outer(list(model.parameters()))
        optimizer.step()
    return optimizer.ledger  # type: ignore[attr-defined]


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("max_norm", [1e-2, 0.1, 0.5])
def test_an_outer_norm_is_noticed(make: str, max_norm: float) -> None:
    with pytest.warns(UserWarning, match=f"their norm is {max_norm:.2g}.* turn the other one off") as caught:
        ledger = train(MAKE[make], lambda params: nn.utils.clip_grad_norm_(params, max_norm))
    assert len(caught) == 1
    assert ledger["already_clipped"] >= 8


@pytest.mark.parametrize("make", MAKE)
def test_an_outer_value_is_noticed(make: str) -> None:
    with pytest.warns(UserWarning, match=r"their largest element is 0\.05 again and again") as caught:
        ledger = train(MAKE[make], lambda params: nn.utils.clip_grad_value_(params, 0.05))
    assert len(caught) == 1
    assert ledger["already_clipped"] >= 6


@pytest.mark.parametrize("make", MAKE)
def test_a_norm_that_overflows_is_noticed(make: str) -> None:
    """The norm of torch, in float32, is infinite here and its factor 0, although every element is finite."""
    params = [nn.Parameter(torch.zeros(64))]
    optimizer = MAKE[make](params, lr=1e-3)
    params[0].grad = torch.ones(64)
    optimizer.step()
    params[0].grad = torch.full((64,), 1e30)
    nn.utils.clip_grad_norm_(params, 1.0)
    with pytest.warns(UserWarning, match="all gradients are exactly 0, after others that were not"):
        optimizer.step()
    assert optimizer.ledger["zero_gradients"] == 1  # type: ignore[attr-defined]


def nothing(_: object) -> None:
    """Clip nothing."""


@pytest.mark.parametrize("make", MAKE)
def test_gradients_that_nobody_clips_are_not_counted(make: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ledger = train(MAKE[make], nothing)
    assert ledger["already_clipped"] == ledger["zero_gradients"] == 0


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("lr", [0.0, 1e-7])
def test_the_same_batch_at_almost_the_same_parameters_is_not_counted(make: str, lr: float) -> None:
    params = [nn.Parameter(torch.linspace(-1.0, 1.0, 9))]
    optimizer = MAKE[make](params, lr=lr)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(10):
            optimizer.zero_grad()
            params[0].square().sum().backward()
            optimizer.step()
    assert optimizer.ledger["already_clipped"] == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("make", MAKE)
def test_gradients_that_start_at_zero_are_not_counted(make: str) -> None:
    params = [nn.Parameter(torch.zeros(3))]
    optimizer = MAKE[make](params, lr=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            params[0].grad = torch.zeros(3)
            optimizer.step()
    assert optimizer.ledger["zero_gradients"] == 0  # type: ignore[attr-defined]
