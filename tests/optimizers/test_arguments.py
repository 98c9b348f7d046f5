"""Invalid arguments raise clear errors and change nothing; valid ones of any numeric type are accepted."""

import io
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

import steadystep
from cases import OptimizerCase
from torch_contract import clones, every_case, fresh, same, train


def weight() -> list[torch.Tensor]:
    return [torch.zeros(2, requires_grad=True)]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Adam", {"lr": -1.0}, r"lr is -1.0: Adam accepts a number in \[0, inf\)"),
        ("Adam", {"lr": math.nan}, r"lr is nan"),
        ("Adam", {"lr": "fast"}, r"lr is 'fast'"),
        ("Adam", {"betas": (0.9, 1.0)}, r"betas\[1\] is 1.0: Adam accepts a number in \[0, 1\)"),
        ("Adam", {"lr": math.inf}, r"lr is inf: Adam accepts a number in \[0, inf\)"),
        ("Adam", {"lr": True}, r"lr is True: Adam accepts a number"),
        ("Adam", {"betas": (False, 0.9)}, r"betas\[0\] is False"),
        ("Adam", {"weight_decay": np.float32("nan")}, r"weight_decay is nan"),
        ("AdaBound", {"gamma": math.inf}, r"gamma is inf"),
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
        ({"momentun": 0.9}, "Adam has no argument 'momentun'; it takes lr, betas, eps, weight_decay, amsgrad, clip"),
        ({"clip": "norm"}, "clip is 'norm': give None, a maximal global norm"),
        ({"clip": True}, "clip is True"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        steadystep.Adam(weight(), **options)


def test_a_group_added_later_is_checked() -> None:
    optimizer = steadystep.Adam(weight())
    with pytest.raises(ValueError, match=r"lr is -3: Adam accepts"):
        optimizer.add_param_group({"params": weight(), "lr": -3})
    assert len(optimizer.param_groups) == 1


def test_sparse_gradients_are_refused_with_advice() -> None:
    table = torch.nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match=r"does not support sparse gradients, and weight has one: use"):
        steadystep.Adam(table.named_parameters()).step()


def test_parameters_may_be_a_one_shot_iterator() -> None:
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


def test_a_step_without_gradients_does_not_count() -> None:
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


@pytest.mark.parametrize("number", [np.float32(0.25), np.float64(0.25), np.float16(0.25), Fraction(1, 4)], ids=repr)
def test_numbers_of_any_type_are_accepted(number: Any) -> None:
    """Numbers of any type can also be loaded from a checkpoint with weights_only=True."""
    ours, theirs = weight(), weight()
    mine = steadystep.Adam(ours, lr=number, betas=(number, np.float64(0.5)))  # type: ignore[arg-type]
    mine.add_param_group({"params": weight(), "lr": np.int64(1), "eps": number})
    peer = steadystep.Adam(theirs, lr=0.25, betas=(0.25, 0.5))
    for params, optimizer in ((ours, mine), (theirs, peer)):
        params[0].grad = torch.ones(2)
        optimizer.step()
    assert torch.equal(ours[0], theirs[0])
    file = io.BytesIO()
    torch.save(mine.state_dict(), file)
    file.seek(0)
    assert torch.load(file, weights_only=True)["param_groups"][1]["lr"] == 1


def test_clip_can_be_set_to_every_form_that_the_constructor_accepts() -> None:
    params = weight()
    optimizer = steadystep.SGD(params, lr=1.0, clip=1.0)
    for clip, want in ((2.0, -2.0), ([steadystep.ClipValue(0.5)], -0.5), (steadystep.ClipUpdate(0.25), -0.25)):
        optimizer.clip = clip
        with torch.no_grad():
            params[0].zero_()
        params[0].grad = torch.tensor([30.0, 0.0] if clip == 2.0 else [30.0, 30.0])
        optimizer.step()
        assert params[0][0].item() == pytest.approx(want)
    optimizer.clip = None
    assert optimizer.clip == ()
    with pytest.raises(TypeError, match="clip is 'norm': give None"):
        optimizer.clip = "norm"  # type: ignore[assignment]


def test_the_default_eps_of_a_group_is_that_of_its_variant() -> None:
    groups: Any = [{"params": weight()}, {"params": weight(), "variant": "paper"}]
    assert [group["eps"] for group in steadystep.AdaBelief(groups).param_groups] == [1e-16, 1e-8]
    groups = [{"params": weight()}, {"params": weight(), "variant": "paper"}]
    assert [group["eps"] for group in steadystep.AdaBelief(groups, eps=1e-4).param_groups] == [1e-4, 1e-4]
    optimizer = steadystep.AdaBelief(weight(), variant="paper")
    optimizer.add_param_group({"params": weight(), "variant": "author"})
    optimizer.add_param_group({"params": weight(), "variant": "author", "eps": 0.5})
    assert [group["eps"] for group in optimizer.param_groups] == [1e-8, 1e-16, 0.5]


@pytest.mark.parametrize("beta2", [0.6, 0.5, 1 / 3, 0.0])
@pytest.mark.parametrize("name", ["RAdam", "LAMB", "AdaBelief"])
def test_a_moving_average_too_short_to_rectify(name: str, beta2: float) -> None:
    """With beta2 = 0.6, rho_inf is 4 and the rectification is 0 / 0; a warning about it would be an error here."""
    more = {"rectified": True} if name == "LAMB" else {}
    params = [torch.ones(3, requires_grad=True)]
    optimizer = getattr(steadystep, name)(params, lr=0.01, betas=(0.9, beta2), **more)
    for _ in range(8):
        params[0].grad = torch.ones(3)
        optimizer.step()
    assert params[0].isfinite().all() and (params[0] < 1).all()


@pytest.mark.parametrize("value", [None, "0.1"])
@every_case
def test_an_option_that_becomes_no_number_is_refused_and_nothing_is_written(case: OptimizerCase, value: Any) -> None:
    for name in case.make(fresh()).hyperparameters.keys() & {"lr", "eps", "weight_decay", "momentum"}:
        params = fresh()
        optimizer = case.make(params)
        train(optimizer, params, range(3))
        before = clones(params)
        optimizer.param_groups[0][name] = value
        with pytest.raises(ValueError, match=rf"{name} is {value!r}: {case.name} accepts a number in"):
            train(optimizer, params, range(1))
        assert same(params, before)


def test_options_may_be_tensors() -> None:
    for make in (steadystep.RMSprop, steadystep.SGD):
        params, others = fresh(), fresh()
        momentum: Any = torch.tensor(0.9, dtype=torch.float64)
        optimizer, peer = make(params, momentum=momentum), make(others, momentum=0.9)
        assert same(train(optimizer, params), train(peer, others))
