"""What is given wrongly is said plainly, and nothing is half made."""

import math
from typing import Any

import pytest
import torch

import steadystep


def weight() -> list[torch.Tensor]:
    return [torch.zeros(2, requires_grad=True)]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Adam", {"lr": -1.0}, r"lr is -1.0: Adam accepts a number in \[0, inf\)"),
        ("Adam", {"lr": math.nan}, r"lr is nan"),
        ("Adam", {"lr": "fast"}, r"lr is 'fast'"),
        ("Adam", {"betas": (0.9, 1.0)}, r"betas\[1\] is 1.0: Adam accepts a number in \[0, 1\)"),
        ("AdamW", {"eps": -1e-8}, r"eps is -1e-08: AdamW accepts a number in \[0, inf\)"),
        ("AdamW", {"weight_decay": -0.1}, r"weight_decay is -0.1"),
        ("SGD", {"momentum": 1.5}, r"momentum is 1.5: SGD accepts a number in \[0, 1\)"),
        ("SGD", {"nesterov": True}, r"nesterov=True needs momentum > 0 and dampening = 0"),
        ("SGD", {"nonfinite": "ignore"}, r"nonfinite is 'ignore': it must be one of skip, raise, propagate"),
        ("SGD", {"max_consecutive_skips": 0}, r"max_consecutive_skips is 0"),
        ("SGD", {"backend": "cuda"}, r"backend is 'cuda'"),
        ("SGD", {"clip": -1.0}, r"max_norm is -1.0: it must be a number greater than 0"),
        ("SGD", {"clip": 0.0}, r"max_norm is 0.0"),
        ("SGD", {"clip": math.nan}, r"max_norm is nan"),
    ],
)
def test_values_out_of_range(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(steadystep, name)(weight(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fused": True}, "Adam has no 'fused': how a step is computed is chosen by backend="),
        ({"momentun": 0.9}, "Adam has no argument 'momentun'; it takes variant, maximize, clip"),
        ({"clip": "norm"}, "clip is 'norm': give None, a maximal global norm"),
        ({"clip": True}, "clip is True"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        steadystep.Adam(weight(), **options)


def test_a_group_added_later_is_checked_too() -> None:
    optimizer = steadystep.Adam(weight())
    with pytest.raises(ValueError, match=r"lr is -3: Adam accepts"):
        optimizer.add_param_group({"params": weight(), "lr": -3})
    assert len(optimizer.param_groups) == 1


def test_sparse_gradients_are_refused_with_what_to_do() -> None:
    table = torch.nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match=r"does not support sparse gradients, and weight has one: use"):
        steadystep.Adam(table.named_parameters()).step()


def test_a_one_shot_iterator_of_parameters_is_enough() -> None:
    params = weight()
    optimizer = steadystep.SGD(iter(params), lr=1.0, clip=1.0)
    for _ in range(2):
        params[0].grad = torch.ones(2)
        optimizer.step()
    assert optimizer.ledger["applied"] == 2


def test_schedulers_hooks_and_closures() -> None:
    params = weight()
    optimizer = steadystep.SGD(params, lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    calls: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (params[0] - 1.0).square().sum()
        loss.backward()
        calls.append("closure")
        return loss

    assert optimizer.step(closure).item() == 2.0
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert calls == ["before", "closure", "after"]


def test_a_step_without_gradients_is_no_step() -> None:
    optimizer = steadystep.Adam(weight())
    optimizer.step()
    assert optimizer.ledger["attempted"] == 0 and not optimizer.state


def test_a_tensor_learning_rate() -> None:
    ours, theirs = weight(), weight()
    mine = steadystep.Adam(ours, lr=torch.tensor(0.1, dtype=torch.float64))
    peer = steadystep.Adam(theirs, lr=0.1)
    for params, optimizer in ((ours, mine), (theirs, peer)):
        params[0].grad = torch.ones(2)
        optimizer.step()
    assert torch.equal(ours[0], theirs[0])
