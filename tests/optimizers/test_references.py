"""Test every variant against an independent scalar reference, written from the equations in plain Python."""

from typing import Any

import pytest
import torch

import steadystep
from reference.optimizers import CASES, REFERENCES
from reference.problem import make_problem, warm_restarts


def label(case: tuple[str, str, dict[str, Any]]) -> str:
    name, variant, options = case
    return " ".join([name, variant, *(f"{key}={value}" for key, value in options.items())])


every_case = pytest.mark.parametrize("case", CASES, ids=label)
Case = tuple[str, str, dict[str, Any]]


@pytest.mark.parametrize("scheduled", [False, True], ids=["constant lr", "warm restarts"])
@every_case
def test_the_trajectory_is_that_of_the_reference(case: Case, scheduled: bool) -> None:
    check_trajectory(case, *make_problem(seed=1), scheduled)


@every_case
def test_tensors_that_start_at_zero_move_like_the_reference(case: Case) -> None:
    """A factor for each tensor, such as LAMB's trust ratio, must not hold a tensor at zero."""
    start, gradients = make_problem(seed=2)
    zeros = [[0.0] * len(values) for values in start]
    optimizer = check_trajectory(case, zeros, gradients, scheduled=False)
    (group,) = optimizer.param_groups
    if optimizer.rule(group).sums is not None:
        assert all(bool(param.any()) for param in group["params"])


def check_trajectory(case: Case, start: Any, gradients: Any, scheduled: bool) -> steadystep.Optimizer:
    """Compare all steps of an optimizer with those of its reference, and return the optimizer."""
    name, variant, options = case
    params = [torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in start]
    optimizer = getattr(steadystep, name)(params, variant=variant, **options)
    lrs = warm_restarts(optimizer.defaults["lr"], len(gradients)) if scheduled else None
    want = REFERENCES[name](start, gradients, variant=variant, lrs=lrs, **options)
    for step, step_gradients in enumerate(gradients):
        if lrs:
            optimizer.param_groups[0]["lr"] = lrs[step]
        for param, values in zip(params, step_gradients, strict=True):
            param.grad = None if values is None else torch.tensor(values, dtype=torch.float64)
        optimizer.step()
        got = [param.tolist() for param in params]
        for mine, theirs in zip(got, want[step], strict=True):
            assert mine == pytest.approx(theirs, rel=1e-10, abs=1e-13), f"step {step + 1}"
    return optimizer
