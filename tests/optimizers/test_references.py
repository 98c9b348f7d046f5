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


@pytest.mark.parametrize("scheduled", [False, True], ids=["constant lr", "warm restarts"])
@pytest.mark.parametrize("case", CASES, ids=label)
def test_the_trajectory_is_that_of_the_reference(case: tuple[str, str, dict[str, Any]], scheduled: bool) -> None:
    name, variant, options = case
    start, gradients = make_problem(seed=1)
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
