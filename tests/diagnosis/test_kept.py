"""A diagnosis leaves everything as it was, to the last bit."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import steadystep
from diagnosis import failures
from steadystep.recorder.state import take


def everything(run: Any) -> dict[str, Any]:
    state = take(
        run.model, run.optimizer, {name: getattr(run, name) for name in ("scaler", "scheduler") if hasattr(run, name)}
    )
    return {
        "state": state,
        "gradients": [None if p.grad is None else p.grad.clone() for p in run.model.parameters()],
        "identities": [id(p.grad) for p in run.model.parameters()],
        "addresses": [p.data_ptr() for p in run.model.parameters()],
        "modes": [module.training for module in run.model.modules()],
        "types": [p.dtype for p in run.model.parameters()],
        "count": getattr(run, "count", None),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return same(vars(one), vars(other)) if hasattr(one, "__dict__") else one == other


def with_everything() -> Any:
    """Return a run with dropout, buffers, a scheduler and gradients of before, that fails at step 23."""
    run = failures.a_nan_in_the_data()
    run.model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=3e-3)
    run.scheduler = torch.optim.lr_scheduler.ExponentialLR(run.optimizer, 0.99)
    for batch in run.batches[:3]:
        failures._step(run, batch)
        run.scheduler.step()
    return run


@pytest.mark.parametrize(
    "make",
    [
        with_everything,
        failures.eps_below_float16,
        failures.moments_lost_on_the_way,
        failures.clipped_before_unscaling,
        failures.dead_units,
        failures.a_cut_graph,
        failures.classifier,
    ],
    ids=lambda make: make.__name__,
)
def test_everything_is_as_before(make: Any) -> None:
    run = make()
    random.random()
    before = everything(run)
    steadystep.diagnose(run)
    assert same(everything(run), before), "the state of all random generators is a part of it"


def test_also_when_the_run_cannot_be_used() -> None:
    run = with_everything()
    run.loss = lambda model, batch: model(batch[0])
    before = everything(run)
    with pytest.raises(steadystep.RunError, match="must return a scalar tensor"):
        steadystep.diagnose(run)
    assert same(everything(run), before)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": None}, "the run needs `model`, a torch Module"),
        ({"optimizer": "adam"}, "the run needs `optimizer`, a torch Optimizer"),
        ({"loss": None}, "the run needs `loss"),
        ({"batches": []}, "not empty"),
        ({"batches": None}, "the run needs `batches`, a sequence, or `batch\\(index\\)`"),
        ({"step": lambda run, batch: None}, "must return the loss as a float"),
    ],
)
def test_what_a_run_lacks_is_said(changes: dict[str, Any], words: str) -> None:
    run = failures.classifier()
    for name, value in changes.items():
        setattr(run, name, value)
    with pytest.raises(steadystep.RunError, match=words) as caught:
        steadystep.diagnose(run)
    assert "\n" not in str(caught.value)
