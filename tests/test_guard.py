"""The guarded step of torch's optimizers, clipping in a training loop, norm profiles and decay groups."""

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_

import steadystep
from cases import CLIPPERS, ClipperCase
from steadystep.step.ledger import CALIBRATION

PEERS = {
    "SGD": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
    "Adam": lambda params: torch.optim.Adam(params, lr=0.01),
    "Adam fused": lambda params: torch.optim.Adam(params, lr=0.01, fused=True),
    "Adadelta": torch.optim.Adadelta,
}


def parameters() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator).requires_grad_() for s in ((5, 3), (3,))]


def set_gradients(params: list[torch.Tensor], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator)


@pytest.mark.parametrize("peer", PEERS)
def test_a_guarded_optimizer_is_clip_grad_norm_and_then_its_step(peer: str) -> None:
    ours, theirs = parameters(), parameters()
    mine, plain = steadystep.guard(PEERS[peer](ours), clip=1.0), PEERS[peer](theirs)
    assert isinstance(mine, type(plain))
    for step in range(12):
        for params in (ours, theirs):
            set_gradients(params, step)
        if step == 5:
            assert ours[0].grad is not None
            ours[0].grad[0, 0] = math.nan
            before = copy.deepcopy((ours, mine.state_dict()["state"]))
            mine.step()
            after = (ours, mine.state_dict()["state"])
            for a, b in zip(before[0], after[0], strict=True):
                assert torch.equal(a, b)
            assert str(before[1]) == str(after[1])
            continue
        mine.step()
        clip_grad_norm_(theirs, 1.0)
        plain.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert mine.ledger["applied"] == 11 and mine.ledger["skipped_nonfinite"] == 1  # type: ignore[attr-defined]


def test_gradients_can_be_preserved() -> None:
    params = parameters()
    optimizer = steadystep.guard(torch.optim.SGD(params, lr=0.1), clip=0.5, preserve_grad=True)
    set_gradients(params, 0)
    before = [param.grad.clone() for param in params if param.grad is not None]
    optimizer.step()
    assert all(torch.equal(param.grad, old) for param, old in zip(params, before, strict=True))  # type: ignore[arg-type]


def test_statistics_and_ledger_survive_a_checkpoint() -> None:
    def run(interrupted: bool) -> tuple[list[torch.Tensor], dict[str, object]]:
        params = parameters()
        optimizer = steadystep.guard(torch.optim.SGD(params, lr=0.1), clip=steadystep.AutoClip(30, window=10))
        for step in range(20):
            if interrupted and step == 9:
                saved = copy.deepcopy(optimizer.state_dict())
                optimizer = steadystep.guard(torch.optim.SGD(params, lr=0.1), clip=steadystep.AutoClip(30, window=10))
                optimizer.load_state_dict(saved)
            set_gradients(params, step)
            optimizer.step()
        return params, optimizer.ledger  # type: ignore[attr-defined]

    (a, first), (b, second) = run(True), run(False)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert first == second


def test_schedulers_follow_a_guarded_optimizer() -> None:
    params = parameters()
    optimizer = steadystep.guard(torch.optim.SGD(params, lr=1.0), clip=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    set_gradients(params, 0)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.5
    late = torch.optim.SGD(parameters(), lr=1.0)
    torch.optim.lr_scheduler.StepLR(late, 1)
    with pytest.raises(TypeError, match="guard it before"):
        steadystep.guard(late)


def test_unsupported_optimizers_and_clippers_are_refused() -> None:
    with pytest.raises(TypeError, match="Adam guards its own step"):
        steadystep.guard(steadystep.Adam(parameters()))
    with pytest.raises(ValueError, match="ClipUpdate clips updates"):
        steadystep.guard(torch.optim.SGD(parameters()), clip=steadystep.ClipUpdate())
    with pytest.raises(ValueError, match="AutoClip remembers"):
        steadystep.clip_gradients(parameters(), steadystep.AutoClip())


@pytest.mark.parametrize(
    "case", [case for case in CLIPPERS if not isinstance(case.make(), steadystep.ClipUpdate)], ids=str
)
def test_clip_gradients_clips_as_an_optimizer_does(case: ClipperCase) -> None:
    ours, theirs = parameters(), parameters()
    memory: dict[str, torch.Tensor] = {}
    optimizer = steadystep.SGD(theirs, lr=1.0, clip=case.make())
    for step in range(12):
        before = [param.detach().clone() for param in theirs]
        for params in (ours, theirs):
            set_gradients(params, step)
        optimizer.step()
        with torch.no_grad():
            for mine, other in zip(ours, before, strict=True):
                mine.copy_(other)  # AGC reads the weights
        steadystep.clip_gradients(ours, case.make(), memory)
        for mine, other, old in zip(ours, theirs, before, strict=True):
            assert mine.grad is not None
            torch.testing.assert_close(old - mine.grad, other.detach())


def test_clip_gradients_leaves_non_finite_gradients_unchanged() -> None:
    params = parameters()
    set_gradients(params, 0)
    assert params[0].grad is not None
    params[0].grad[0, 0] = math.inf
    before = [param.grad.clone() for param in params if param.grad is not None]
    assert steadystep.clip_gradients(iter(params), 1.0) == math.inf
    assert all(torch.equal(param.grad, old) for param, old in zip(params, before, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("nonfinite", ["skip", "raise", "propagate"])
@pytest.mark.parametrize("unscale_first", [False, True])
def test_the_order_of_unscaling_and_clipping_is_right_with_a_grad_scaler(unscale_first: bool, nonfinite: Any) -> None:
    ours, theirs = parameters(), parameters()
    mine = steadystep.SGD(ours, lr=0.1, clip=1.0, nonfinite=nonfinite, max_consecutive_skips=1)
    peer = torch.optim.SGD(theirs, lr=0.1)
    scaler, plain = (torch.amp.GradScaler("cpu", init_scale=1024.0) for _ in range(2))
    for step in range(6):
        for params, optimizer, scale in ((ours, mine, scaler), (theirs, peer, plain)):
            optimizer.zero_grad()
            loss = sum((param * (step + 1)).sin().sum() for param in params)
            if step in (2, 3):
                loss = loss * math.inf
            scale.scale(loss).backward()  # type: ignore[union-attr]
            if optimizer is peer or unscale_first:
                scale.unscale_(optimizer)
            if optimizer is peer:
                clip_grad_norm_(params, 1.0)
            scale.step(optimizer)
            scale.update()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert (mine.ledger["applied"], mine.ledger["skipped_nonfinite"]) == (4, 2)
    assert mine.ledger["consecutive_skips"] == 0, "skips while the scaler calibrates its scale do not count"
    assert scaler.get_scale() == plain.get_scale() == 256.0
    assert mine.ledger["norm_before"] < 100, "the norm is that of the unscaled gradients"


def test_a_guarded_optimizer_follows_a_grad_scaler_and_accumulation() -> None:
    ours, theirs = parameters(), parameters()
    mine, peer = steadystep.guard(torch.optim.Adam(ours, lr=0.1), clip=1.0), torch.optim.Adam(theirs, lr=0.1)
    scaler, plain = (torch.amp.GradScaler("cpu", init_scale=1024.0) for _ in range(2))
    for step in range(6):
        for params, optimizer, scale in ((ours, mine, scaler), (theirs, peer, plain)):
            optimizer.zero_grad()
            for part in range(2):  # two halves of a batch
                loss = sum((param * (step + part + 1)).sin().sum() for param in params)
                if (step, part) == (3, 1):
                    loss = loss * math.inf
                scale.scale(loss).backward()  # type: ignore[union-attr]
            if optimizer is peer:
                scale.unscale_(optimizer)
                clip_grad_norm_(params, 1.0)
            scale.step(optimizer)
            scale.update()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert mine.ledger["applied"] == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("unscale_first", [False, True])
@pytest.mark.parametrize("nonfinite", ["skip", "raise", "propagate"])
def test_a_nan_that_no_scale_removes_ends_the_calibration(nonfinite: Any, unscale_first: bool, guarded: bool) -> None:
    params, limit = parameters(), 3
    optimizer: Any
    if guarded:
        optimizer = steadystep.guard(torch.optim.SGD(params), nonfinite=nonfinite, max_consecutive_skips=limit)
    else:
        optimizer = steadystep.SGD(params, nonfinite=nonfinite, max_consecutive_skips=limit)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)

    def step(factor: float) -> None:
        optimizer.zero_grad()
        scaler.scale(sum((param * factor).sum() for param in params)).backward()  # type: ignore[union-attr]
        if unscale_first:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()

    for _ in range(CALIBRATION):
        step(math.nan)
    step(1.0)  # a finite step resets the count
    for _ in range(CALIBRATION):
        step(math.nan)
    assert (optimizer.ledger["applied"], optimizer.ledger["consecutive_skips"]) == (1, 0)
    before = [param.detach().clone() for param in params]
    expected = steadystep.NonFiniteGradientError if nonfinite == "raise" else steadystep.TooManySkipsError
    with pytest.raises(expected):
        for _ in range(limit + 1):
            step(math.nan)
    assert all(torch.equal(param, old) for param, old in zip(params, before, strict=True))


def test_norm_profile_leaves_the_model_as_it_was() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    batches = [torch.randn(8, 3, generator=torch.Generator().manual_seed(i)) for i in range(5)]
    profile = steadystep.norm_profile(model, batches, lambda model, x: model(x).square().sum())
    assert len(profile.norms) == 5 and all(norm > 0 for norm in profile.norms)
    assert profile.clip_rate(profile.quantile(0.5)) == 0.4
    assert "clip rate" in str(profile)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_decay_groups_leaves_out_biases_norms_and_frozen_parameters() -> None:
    model = torch.nn.ModuleDict(
        {
            "embed": torch.nn.Embedding(5, 4),
            "norm": torch.nn.GroupNorm(2, 4),
            "lstm": torch.nn.LSTM(4, 4),
            "head": torch.nn.Linear(4, 5),
        }
    )
    model["head"].weight = model["embed"].weight
    model["head"].bias.requires_grad_(False)
    decayed, rest = steadystep.decay_groups(model, 0.1)
    assert [name for name, _ in decayed["params"]] == ["embed.weight", "lstm.weight_ih_l0", "lstm.weight_hh_l0"]
    assert [name for name, _ in rest["params"]] == ["norm.weight", "norm.bias", "lstm.bias_ih_l0", "lstm.bias_hh_l0"]
    steadystep.AdamW([decayed, rest])


def test_decay_groups_recognises_a_bias_by_any_name() -> None:
    attention = torch.nn.MultiheadAttention(8, 2, add_bias_kv=True)
    attention.register_parameter("biased_weight", torch.nn.Parameter(torch.zeros(2)))
    decayed, rest = steadystep.decay_groups(attention, 0.1)
    assert [name for name, _ in decayed["params"]] == ["in_proj_weight", "biased_weight", "out_proj.weight"]
    assert [name for name, _ in rest["params"]] == ["in_proj_bias", "bias_k", "bias_v", "out_proj.bias"]


@pytest.mark.parametrize("weight_decay", [-0.1, math.nan, math.inf, "much", True])
def test_decay_groups_refuses_an_invalid_weight_decay(weight_decay: Any) -> None:
    with pytest.raises(ValueError, match=r"weight_decay is .*: decay_groups accepts a number in"):
        steadystep.decay_groups(torch.nn.Linear(2, 2), weight_decay)


FUSED = {
    "SGD": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9, fused=True),
    "Adam": lambda params: torch.optim.Adam(params, lr=0.01, fused=True),
    "Adagrad": lambda params: torch.optim.Adagrad(params, lr=0.01, fused=True),
}


@pytest.mark.parametrize("unscale_first", [False, True])
@pytest.mark.parametrize("peer", FUSED)
def test_a_fused_optimizer_clips_after_the_scale_is_divided_out(peer: str, unscale_first: bool) -> None:
    """A fused step of torch unscales the gradient itself, so clipping before it would clip the scaled gradient."""
    ours, theirs = parameters(), parameters()
    mine = steadystep.guard(FUSED[peer](ours), clip=0.5, max_consecutive_skips=1)
    other = FUSED[peer](theirs)
    scaler, plain = (torch.amp.GradScaler("cpu", init_scale=65536.0) for _ in range(2))
    for step in range(6):
        for params, optimizer, scale in ((ours, mine, scaler), (theirs, other, plain)):
            optimizer.zero_grad()
            loss = sum((param * 0.1 * (step + 1)).sin().sum() for param in params)
            if step in (2, 3):
                loss = loss * math.inf
            scale.scale(loss).backward()  # type: ignore[union-attr]
            if optimizer is other or unscale_first:
                scale.unscale_(optimizer)
            if optimizer is other:
                clip_grad_norm_(params, 0.5)
            scale.step(optimizer)
            scale.update()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    ledger = mine.ledger  # type: ignore[attr-defined]
    assert (ledger["attempted"], ledger["applied"], ledger["skipped_nonfinite"]) == (6, 4, 2)
    assert ledger["norm_before"] < 10 and ledger["clip_rate"] < 1
    assert ledger["consecutive_skips"] == 0, "skips while the scaler calibrates its scale do not count"
    assert scaler.get_scale() == plain.get_scale() == 16384.0


def test_float16_gradients_cannot_be_divided_by_a_scale_in_place() -> None:
    weight = torch.zeros(2, dtype=torch.float16, requires_grad=True)
    optimizer = steadystep.guard(torch.optim.SGD([weight], lr=1.0), clip=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale((weight * 2.0).sum()).backward()
    with pytest.raises(ValueError, match="cannot divide the float16 gradient of group 0, tensor 0"):
        scaler.step(optimizer)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"]
)
@pytest.mark.parametrize("peer", PEERS)
def test_a_copy_of_a_guarded_optimizer_is_independent(peer: str, duplicate: Any) -> None:
    params = parameters()
    optimizer: Any = steadystep.guard(PEERS[peer](params), clip=steadystep.AutoClip(30, window=10), preserve_grad=True)
    for step in range(6):
        set_gradients(params, step)
        optimizer.step()
    before = [param.detach().clone() for param in params]
    copied, copied_params = duplicate((optimizer, params))
    assert type(copied) is type(optimizer)
    for step in range(6, 12):
        set_gradients(copied_params, step)
        copied.step()
    assert all(torch.equal(param, old) for param, old in zip(params, before, strict=True))
    for step in range(6, 12):
        set_gradients(params, step)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(params, copied_params, strict=True))
    assert optimizer.ledger == copied.ledger and optimizer.ledger["attempted"] == 12


def test_step_hooks_run_once_per_step_also_after_a_checkpoint() -> None:
    params = parameters()
    optimizer = steadystep.guard(torch.optim.SGD(params, lr=0.1), clip=1.0)
    calls: list[str] = []
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    for step in range(3):
        set_gradients(params, step)
        optimizer.step()
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        assert calls == ["after"] * (step + 1)


def test_an_optimizer_that_needs_a_closure_cannot_be_guarded() -> None:
    with pytest.raises(TypeError, match="LBFGS needs a closure, with which it evaluates the model inside its step"):
        steadystep.guard(torch.optim.LBFGS(parameters()))


def test_the_repr_shows_the_options_of_the_guard_and_not_its_state() -> None:
    params = parameters()
    *options, end = repr(torch.optim.SGD(params, lr=0.1)).replace("SGD", "GuardedSGD").splitlines()
    optimizer = steadystep.guard(torch.optim.SGD(params, lr=0.1), clip=steadystep.AutoClip())
    set_gradients(params, 0)
    optimizer.step()
    clip = f"    clip: {steadystep.AutoClip()!r}"
    head, shown = options[:2], sorted([*options[2:], clip, "    nonfinite: 'skip'", "    undo: False"])
    assert repr(optimizer).splitlines() == [*head, *shown, end]
    assert "ledger" in optimizer.param_groups[0]
