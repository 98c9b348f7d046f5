"""Learning rates of 0, as at the start of a warm-up, and gradients of 0."""

from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

import steadystep
from cases import OPTIMIZERS, OptimizerCase
from reference.optimizers import REFERENCES

backends = pytest.mark.parametrize("backend", ["numba", "eager"])
every_case = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)


@pytest.mark.parametrize("clip", [None, steadystep.ClipUpdate(0.5)], ids=str)
@backends
@every_case
def test_a_warm_up_from_zero_with_gradients_of_zero(case: OptimizerCase, backend: str, clip: Any) -> None:
    param = torch.ones(3, requires_grad=True)
    optimizer = case.make([param], clip=clip, backend=backend)
    warm_up = schedulers.LambdaLR(optimizer, lambda t: t / 4)
    for _ in range(6):
        param.grad = torch.tensor([1.0, 0.0, 1e-30])
        optimizer.step()
        warm_up.step()
        assert param.isfinite().all()
    assert optimizer.ledger["applied"] == 6


@backends
@pytest.mark.parametrize("name", ["AdaBound", "AMSBound"])
def test_the_bounds_of_the_paper_hold_for_elements_without_a_gradient(name: str, backend: str) -> None:
    """With lr = 0 and v = 0, the rate is the limit of lr / 0 as lr tends to 0: infinity, clipped to the upper bound."""
    gradients: Any = [[[1.0, 0.0, 1e-170]], [[0.5, 0.0, 1.0]], [[-1.0, 2.0, 0.0]]]
    lrs = [0.0, 0.0, 0.01]
    param = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = getattr(steadystep, name)([param], lr=0.01, variant="paper", backend=backend)
    want = REFERENCES[name]([[1.0] * 3], gradients, lr=0.01, variant="paper", lrs=lrs)
    for lr, (gradient,), (expected,) in zip(lrs, gradients, want, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        param.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        assert param.tolist() == pytest.approx(expected, rel=1e-12)


RATIOS = [("AdaBound", "author"), ("AMSBound", "author"), ("AdamW", "independent")]


@pytest.mark.parametrize(("name", "variant"), RATIOS)
def test_a_first_learning_rate_of_zero_is_refused_as_base_lr(name: str, variant: str) -> None:
    params = [torch.ones(2, requires_grad=True)]
    make = getattr(steadystep, name)
    with pytest.raises(ValueError, match=rf"lr is 0.0: {name} with variant='{variant}' compares it with"):
        make(params, lr=0.0, variant=variant)
    optimizer = make(params, lr=0.1, variant=variant)
    with pytest.raises(ValueError, match="give the parameter group a base_lr"):
        optimizer.add_param_group({"params": [torch.ones(2, requires_grad=True)], "lr": 0.0})
    for first in ({"base_lr": 0.1}, {"initial_lr": 0.1}):
        late = torch.ones(2, requires_grad=True)
        optimizer.add_param_group({"params": [late], "lr": 0.0, **first})
        late.grad = torch.ones(2)
        optimizer.step()
        assert late.tolist() == [1.0, 1.0]
        optimizer.param_groups[-1]["lr"] = 0.1
        optimizer.step()
        assert (late < 1).all()


@every_case
def test_a_learning_rate_of_zero_moves_nothing(case: OptimizerCase) -> None:
    param = torch.ones(3, requires_grad=True)
    optimizer = case.make([param])
    optimizer.param_groups[0]["lr"] = 0.0
    for step in range(8):
        param.grad = torch.full((3,), 1.0 + step)
        optimizer.step()
    if case.options.get("variant") == "paper" and case.name in ("AdaBound", "AMSBound"):
        assert (param < 1).all()  # its lower bound is not scaled by the learning rate
    else:
        assert param.tolist() == [1.0] * 3
