"""A learning rate that is far too large, or negative, is named as such, and broken data at the start as themselves."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import steadystep


def regression(lr: float, **changes: Any) -> SimpleNamespace:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    inputs = torch.randn(20, 16, 4, generator=torch.Generator().manual_seed(1))
    run = SimpleNamespace(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=abs(lr)),
        loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        batches=[(x, x.sum(1, keepdim=True)) for x in inputs],
    )
    run.optimizer.param_groups[0]["lr"] = lr
    vars(run).update(changes)
    return run


def assert_rate_is_named(found: Any, low: float, high: float) -> None:
    assert (found.culprit, found.place, found.verified) == ("learning-rate", "lr", True), found.sentence
    assert found.fix.startswith("set lr=") and low <= float(found.fix.removeprefix("set lr=")) <= high


@pytest.mark.parametrize("lr", [3.0, 1e2, 1e4, 1e8, 1e20])
def test_a_rate_of_any_size(lr: float) -> None:
    assert_rate_is_named(steadystep.diagnose(regression(lr)), 1e-3, 1.0)


@pytest.mark.parametrize("lr", [2.0, 3.0, 5.0])
def test_a_gradient_that_grows_from_step_to_step_is_no_outlier(lr: float) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    run = SimpleNamespace(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=lr),
        loss=lambda model, batch: (model(batch) ** 2).mean(),
        batches=list(torch.randn(8, 16, 4)),
    )
    assert_rate_is_named(steadystep.diagnose(run), 0.1, 1.0)


@pytest.mark.parametrize("lr", [1e4, 1e10])
def test_a_rate_that_drives_a_function_out_of_its_range(lr: float) -> None:
    def loss(model: Any, batch: Any) -> torch.Tensor:
        return -torch.log(torch.sigmoid(model(batch[0]) * torch.sign(batch[1]))).mean()

    assert_rate_is_named(steadystep.diagnose(regression(lr, loss=loss)), 1e-3, 10.0)


@pytest.mark.parametrize("lr", [1e4, 1e10])
def test_a_rate_of_adam(lr: float) -> None:
    run = regression(
        1.0,
        loss=lambda model, batch: functional.binary_cross_entropy_with_logits(model(batch[0]), (batch[1] > 0).float()),
    )
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=lr)
    assert_rate_is_named(steadystep.diagnose(run), 1e-3, 10.0)


def test_a_negative_rate() -> None:
    found = steadystep.diagnose(regression(-0.1))
    assert_rate_is_named(found, 0.1, 0.1)
    assert "is negative, -0.1: each step goes uphill" in found.sentence


@pytest.mark.parametrize("bad", [(0,), (1,), (0, 1), (2,), (0, 1, 2, 3, 4, 5)])
def test_broken_data_at_the_very_start(bad: tuple[int, ...]) -> None:
    run = regression(0.01)
    for number in bad:
        run.batches[number][0][0, 0] = float("nan")
    found = steadystep.diagnose(run)
    assert (found.culprit, found.place, found.verified) == ("batch", f"example 0 of batch {bad[0]}", True)
    assert ("every batch that is not finite" in found.fix) == (len(bad) > 1)


def test_a_run_whose_batches_never_come_back_is_not_said_to_be_cured() -> None:
    random = torch.Generator().manual_seed(2)

    def draw() -> Any:
        x = torch.randn(16, 4, generator=random)
        return x, x.sum(1, keepdim=True)

    # The doctor puts back the generators that a function uses itself, but not those that are hidden in another one.
    run = regression(1e2, batch=lambda index: draw(), batches=None)
    found = steadystep.diagnose(run)
    assert found.culprit is None and not found.verified and not found.fix and found.exit_code == 4
    assert "two replays of the same steps differ" in found.sentence and "seeded generator" in found.sentence
