"""Parameters and groups that no optimizer accepts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import steadystep
from cases import OPTIMIZERS, OptimizerCase
from torch_contract import every_case, fresh


def leaf() -> torch.Tensor:
    return torch.ones(2, requires_grad=True)


@pytest.mark.parametrize("name", sorted({case.name for case in OPTIMIZERS}))
@pytest.mark.parametrize(
    ("params", "options", "error", "message"),
    [
        (leaf, {}, TypeError, "should be an iterable of Tensors or dicts"),
        (lambda: 3, {}, TypeError, r"takes parameters, and got an int: give it model\.parameters\(\)"),
        (list, {}, ValueError, "empty parameter list"),
        (lambda: ["weight"], {}, TypeError, "can only optimize Tensors"),
        (lambda: [{"params": {leaf()}}], {}, TypeError, "ordered collections"),
        (lambda: [leaf() * 2], {}, ValueError, "non-leaf"),
        (lambda: [("a", leaf()), leaf()], {}, ValueError, "Some param names are missing"),
        (lambda: [{"params": [("a", leaf())]}, {"params": [leaf()]}], {}, ValueError, "with/without names"),
        (lambda: [{"params": [x]} for x in [leaf()] * 2], {}, ValueError, "more than one parameter group"),
        (lambda: [leaf()], {"lr": torch.tensor([0.1, 0.2])}, ValueError, r"lr is tensor\("),
        (lambda: [leaf()], {"lr": None}, ValueError, "lr is None"),
        (lambda: [leaf()], {"lr": torch.tensor(-1.0)}, ValueError, r"lr is tensor\(-1"),
        (lambda: [leaf()], {"weight_decay": -0.5}, ValueError, "weight_decay is -0.5"),
    ],
)
def test_invalid_parameters(
    name: str, params: Callable[[], Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        getattr(steadystep, name)(params(), **options)


@every_case
def test_an_invalid_group_leaves_the_optimizer_unchanged(case: OptimizerCase) -> None:
    optimizer = case.make(fresh())
    with pytest.raises(TypeError, match="must be a dict"):
        optimizer.add_param_group([leaf()])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="variant is 'x'"):
        optimizer.add_param_group({"params": [leaf()], "variant": "x"})
    if "betas" in optimizer.defaults:
        taken = len(optimizer.defaults["betas"])
        word = {2: "two", 3: "three"}[taken]
        for betas in ((0.9,) * (taken - 1), 0.9, (0.9,) * (taken + 1)):
            with pytest.raises(ValueError, match=rf"betas is .* accepts {word} numbers in"):
                optimizer.add_param_group({"params": [leaf()], "betas": betas})
    assert len(optimizer.param_groups) == 1
    with pytest.warns(UserWarning, match="duplicate parameters"):
        case.make([leaf()] * 2)
