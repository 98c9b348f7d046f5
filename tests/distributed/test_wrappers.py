"""torch's own wrappers in two processes: every rank takes the same step, or all refuse it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import steadystep
import wrapped_ranks

RunRanks = Callable[[str, Path], list[dict[str, str]]]


@pytest.fixture(scope="module")
def outcomes(run_ranks: RunRanks, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Run the ranks; for each, return the outcome of every scenario: an empty string or a traceback."""
    return run_ranks(str(wrapped_ranks.__file__), tmp_path_factory.mktemp("wrapped"))


@pytest.mark.parametrize("scenario", wrapped_ranks.SCENARIOS)
def test_ranks_agree_under_the_wrappers_of_torch(outcomes: list[dict[str, str]], scenario: str) -> None:
    for outcome in outcomes:
        assert outcome[scenario] == "", outcome[scenario]


@pytest.mark.parametrize("guarded", [False, True])
def test_an_optimizer_can_be_told_to_leave_the_scale_to_the_scaler(guarded: bool) -> None:
    weight = torch.zeros(2, requires_grad=True)
    optimizer: Any = steadystep.SGD([weight], lr=1.0)
    if guarded:
        optimizer = steadystep.guard(torch.optim.SGD([weight], lr=1.0))
    assert (optimizer._step_supports_amp_scaling, type(optimizer)._step_supports_amp_scaling) == (True, True)
    optimizer._step_supports_amp_scaling = False
    assert optimizer._step_supports_amp_scaling is False
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for factor in (1.0, math.inf):
        optimizer.zero_grad()
        scaler.scale((weight * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert torch.equal(weight, torch.full((2,), -1.0))
    assert optimizer.ledger["attempted"] == 1, "a scaler that divides does not call the step of an infinite gradient"
