"""Checkpoints, those of torch and of older versions among them, and copies of an optimizer."""

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

import steadystep
from cases import OptimizerCase
from torch_contract import (
    STEPS,
    clones,
    close,
    every_case,
    fresh,
    peers,
    same,
    save_and_load,
    train,
)


@every_case
def test_checkpoints_match_parameters_by_position(case: OptimizerCase) -> None:
    """Neither the keys nor the order of the state matters, and no tensor is shared with the loaded dictionary."""
    params = fresh()
    optimizer = case.make([{"params": params[:1]}, {"params": params[1:], "lr": 0.005}])
    train(optimizer, params)
    saved = optimizer.state_dict()
    keys = {0: 7, 1: 3, 2: 5}
    saved["state"] = {keys[key]: saved["state"][key] for key in reversed(keys)}
    for group in saved["param_groups"]:
        group["params"] = [keys[key] for key in group["params"]]
    loaded, untouched = copy.deepcopy(saved), copy.deepcopy(saved["state"])
    others = clones(params)
    other = case.make([{"params": others[:1]}, {"params": others[1:]}])
    other.load_state_dict(loaded)
    again = range(STEPS, 2 * STEPS)
    assert same(train(other, others, again), train(optimizer, params, again))
    torch.testing.assert_close(loaded["state"], untouched, rtol=0, atol=0)
    assert all(type(group["params"][0]) is int and group["ledger"][0] == STEPS for group in loaded["param_groups"][:1])
    for group in other.param_groups:
        assert group["base_lr"] in (case.options["lr"], 0.005)


def test_checkpoints_of_other_groups_are_refused() -> None:
    def saved(*sizes: int) -> steadystep.Optimizer:
        return steadystep.Adam([{"params": fresh()[:size]} for size in sizes])

    with pytest.raises(ValueError, match="different number of parameter groups"):
        saved(2).load_state_dict(saved(1, 1).state_dict())
    optimizer = saved(2, 1)
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        optimizer.load_state_dict(saved(1, 2).state_dict())
    optimizer.load_state_dict(saved(2, 1).state_dict())  # a refused state dict has changed nothing


@every_case
def test_a_checkpoint_continues_in_another_precision(case: OptimizerCase) -> None:
    params = fresh(torch.float32)
    optimizer = case.make(params)
    train(optimizer, params)
    doubles = clones(params, torch.float64)
    wide = case.make(doubles)
    wide.load_state_dict(optimizer.state_dict())
    for param, double in zip(params, doubles, strict=True):
        assert optimizer.state[param].keys() == wide.state[double].keys()
        for slot, value in optimizer.state[param].items():
            got = wide.state[double][slot]
            assert got.dtype == (value.dtype if value.dim() == 0 and slot in ("step", "mu_product") else torch.float64)
            assert torch.equal(got, value.to(got.dtype))
    more = range(STEPS, STEPS + 3)
    torch.testing.assert_close(
        train(wide, doubles, more), [x.double() for x in train(optimizer, params, more)], rtol=1e-5, atol=1e-5
    )
    narrow = case.make(clones(params))
    narrow.load_state_dict(wide.state_dict())
    assert all(v.dtype == torch.float32 for s in narrow.state.values() for k, v in s.items() if k != "mu_product")


@every_case
def test_older_checkpoints(case: OptimizerCase) -> None:
    """Checkpoints that lack options added later and store the step as a number can be loaded."""
    params = fresh()
    optimizer = case.make(params)
    train(optimizer, params)
    saved = copy.deepcopy(optimizer.state_dict())
    for group in saved["param_groups"]:
        for name in ("maximize", "nesterov", "amsgrad", "decoupled_weight_decay", "rectify", "rounding"):
            group.pop(name, None)
    for entry in saved["state"].values():
        entry["step"] = entry["step"].item()
    others = clones(params)
    other = case.make(others)
    other.load_state_dict(saved)
    again = range(STEPS, STEPS + 4)
    assert same(train(other, others, again), train(optimizer, params, again))


@pytest.mark.parametrize("flag", ["foreach", "fused", "capturable", "differentiable"])
@pytest.mark.usefixtures("double_by_default")
@peers
def test_checkpoints_of_torchs_other_implementations(case: OptimizerCase, flag: str) -> None:
    assert case.peer is not None
    theirs = fresh()
    peer = case.peer(theirs, **case.options)
    train(peer, theirs)
    saved = copy.deepcopy(peer.state_dict())
    saved["param_groups"][0][flag] = True
    ours = clones(theirs)
    optimizer = case.make(ours)
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["variant"] == "torch"
    again = range(STEPS, 2 * STEPS)
    close(train(optimizer, ours, again), train(peer, theirs, again))


def test_a_checkpoint_of_torch_selects_the_variant_of_torch() -> None:
    theirs = fresh()
    peer = torch.optim.SGD(theirs, lr=0.1, momentum=0.9)
    train(peer, theirs)
    ours = clones(theirs)
    optimizer = steadystep.SGD(ours, lr=0.1, momentum=0.9, variant="velocity")
    optimizer.load_state_dict(peer.state_dict())
    again = range(STEPS, 2 * STEPS)
    close(train(optimizer, ours, again), train(peer, theirs, again))


@every_case
def test_variant_and_base_lr_come_from_the_checkpoint(case: OptimizerCase) -> None:
    params = fresh()
    optimizer = case.make(params)
    decay = schedulers.StepLR(optimizer, 1, 0.1)
    train(optimizer, params)
    decay.step()
    others = clones(params)
    other = getattr(steadystep, case.name)(others, lr=0.5)
    other.load_state_dict(optimizer.state_dict())
    group = other.param_groups[0]
    assert group["base_lr"] == case.options["lr"] and group["lr"] == pytest.approx(0.1 * case.options["lr"])
    assert group["variant"] == case.options.get("variant", type(other).variants[0])
    again = range(STEPS, 2 * STEPS)
    assert same(train(other, others, again), train(optimizer, params, again))


@pytest.mark.parametrize("count", [-1.0, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_counter_that_counts_nothing_is_refused_with_its_name(count: float, as_tensor: bool) -> None:
    params = [torch.ones(2, requires_grad=True)]
    optimizer = steadystep.Adam([("weight", params[0])])
    params[0].grad = torch.ones(2)
    optimizer.step()
    saved = optimizer.state_dict()
    saved["state"][0]["step"] = torch.tensor(count) if as_tensor else count
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=r"the state 'step' of weight is .*: it must be a finite number from 0 up"):
        optimizer.load_state_dict(saved)
    assert str(optimizer.state_dict()) == str(before)


@pytest.mark.parametrize("resumed", [False, True])
@every_case
def test_a_refused_first_step_has_no_effect(case: OptimizerCase, resumed: bool) -> None:
    params, undisturbed = fresh(), fresh()
    optimizer = case.make(params)
    for param in params:
        param.grad = torch.full_like(param, math.nan)
    optimizer.step()
    if resumed:
        saved = save_and_load(optimizer.state_dict())
        optimizer = case.make(params)
        optimizer.load_state_dict(saved)
    assert same(train(optimizer, params), train(case.make(undisturbed), undisturbed))
    assert (optimizer.ledger["attempted"], optimizer.ledger["skipped_nonfinite"]) == (STEPS + 1, 1)


@every_case
def test_a_copy_steps_the_parameters_copied_with_it(case: OptimizerCase) -> None:
    params = fresh()
    optimizer = case.make(params, clip=steadystep.AutoClip(25))
    train(optimizer, params)
    before = clones(params)
    again = range(STEPS, 2 * STEPS)
    for duplicate in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        copied, copied_params = duplicate((optimizer, params))
        assert {name for name in vars(optimizer) if name[0] != "_"} == {name for name in vars(copied) if name[0] != "_"}
        assert repr(copied) == repr(optimizer) and copied.ledger["attempted"] == STEPS
        train(copied, copied_params, again)
        assert same(params, before) and not same(copied_params, before)
        assert optimizer.ledger["attempted"] == STEPS
    assert same(train(optimizer, params, again), copied_params)


def test_entries_that_a_user_adds_to_the_state_are_saved() -> None:
    params = fresh()
    optimizer = steadystep.Adam(params)
    train(optimizer, params)
    optimizer.state[params[0]]["note"] = "warm"
    optimizer.state[params[0]]["seen"] = torch.arange(3.0)
    optimizer.state["epochs"] = 3  # type: ignore[index]
    other = steadystep.Adam(clones(params))
    other.load_state_dict(save_and_load(optimizer.state_dict()))
    first = other.state[other.param_groups[0]["params"][0]]
    assert first["note"] == "warm" and torch.equal(first["seen"], torch.arange(3.0).double())
    assert other.state["epochs"] == 3  # type: ignore[index]


def test_state_dict_hooks() -> None:
    params = fresh()
    optimizer = steadystep.Adam(params)
    train(optimizer, params)
    calls: list[str] = []
    optimizer.register_state_dict_pre_hook(lambda _: calls.append("before saving"))
    optimizer.register_state_dict_post_hook(lambda _, saved: {**saved, "extra": len(saved["state"])})
    saved = optimizer.state_dict()
    assert calls == ["before saving"] and saved["extra"] == 3
    replaced = copy.deepcopy(saved)
    for entry in replaced["state"].values():
        entry["exp_avg"].fill_(7.0)
        entry["step"].fill_(9.0)
    del replaced["state"][2]
    other = steadystep.Adam(clones(params))

    def after(loaded: torch.optim.Optimizer) -> None:
        first = loaded.state[loaded.param_groups[0]["params"][0]]
        assert first["exp_avg"].eq(7.0).all() and first["step"] == 9.0
        first["exp_avg"].fill_(8.0)

    other.register_load_state_dict_pre_hook(lambda *_: replaced)
    other.register_load_state_dict_post_hook(after)
    for _ in range(2):
        other.load_state_dict(saved)
        first, second, third = (other.state.get(param) for param in other.param_groups[0]["params"])
        assert first is not None and first["exp_avg"].eq(8.0).all(), "the changes of a post hook remain"
        assert second is not None and second["exp_avg"].eq(7.0).all() and second["step"] == 9.0
        assert third is None
    assert replaced["state"][0]["exp_avg"].eq(7.0).all() and not saved["state"][0]["exp_avg"].eq(7.0).any()


def after_step(case: OptimizerCase, saved: dict[str, Any], step: float) -> torch.Tensor:
    """Return all parameters after one more step from a checkpoint that is said to be of some step."""
    changed = copy.deepcopy(saved)
    for entry in changed["state"].values():
        entry["step"] = torch.tensor(step)
    params = fresh()
    optimizer = case.make(params)
    optimizer.load_state_dict(changed)
    train(optimizer, params)
    return torch.cat([param.detach().flatten().double() for param in params])


@every_case
def test_state_of_an_unknown_step_is_refused(case: OptimizerCase) -> None:
    params = fresh()
    optimizer = case.make(params)
    train(optimizer, params)
    saved = copy.deepcopy(optimizer.state_dict())
    slots = {name for entry in saved["state"].values() for name in entry} - {"step"}
    for entry in saved["state"].values():
        entry.pop("step")
    other = case.make(fresh())
    if not slots or slots == {"momentum_buffer"}:
        other.load_state_dict(saved)  # torch's SGD counts no steps
        return
    if torch.equal(after_step(case, saved, 0.0), after_step(case, saved, 500.0)):
        other.load_state_dict(saved)  # the rule does not depend on it
        return
    with pytest.raises(ValueError, match=r"has no 'step'"):
        other.load_state_dict(saved)
    assert not other.state


@pytest.mark.parametrize(
    ("saved", "loads", "message"),
    [
        (steadystep.Yogi, steadystep.Adam, "variant is 'author': Adam has"),
        (steadystep.Adan, steadystep.Adam, "variant is 'author': Adam has"),
        (torch.optim.Adam, steadystep.Adan, "Adan accepts three numbers"),
    ],
)
def test_a_checkpoint_of_another_optimizer_is_refused(saved: Any, loads: Any, message: str) -> None:
    params = fresh()
    optimizer = saved(params)
    train(optimizer, params)
    with pytest.raises(ValueError, match=message):
        loads(fresh()).load_state_dict(optimizer.state_dict())
