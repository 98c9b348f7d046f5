"""PyTorch's generic optimizer tests (from its test/test_optim.py), run for every row of our table.

These tests of PyTorch are left out:

- foreach, fused, capturable, differentiable: other implementations of torch's rules. Ours are selected with
  ``backend=``, and torch's names are refused (test_arguments). A checkpoint with these flags set loads (below).
- comparisons of a for-loop with foreach or fused, peak memory of foreach, defaults changed to foreach: there is one
  eager implementation, which is compared with torch (test_torch_parity) and with scalar references (test_references).
- CUDA graphs, GradScaler with fused, several devices in one optimizer, checkpoints that move between devices: these
  need a GPU (kernels/test_device has such tests; test_guard tests the GradScaler on a CPU).
- sparse gradients and SparseAdam: they are refused, with advice (test_arguments).
- options of optimizers that the package does not have (Rprop, ASGD, Adadelta, Adafactor, Adamax, LBFGS, Muon).
- ``lr`` as a required argument: every optimizer here has a default.
- one parameter twice in a group: torch warns that this will be an error, and so do we; the result is not specified.
"""

import copy
import io
import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.optim.swa_utils import SWALR, AveragedModel

import steadystep
from cases import OPTIMIZERS, OptimizerCase

SHAPES = ((4, 3), (3,), ())
STEPS = 8  # RAdam rectifies from its sixth step on
Parameters = list[torch.Tensor]
every_case = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
peers = pytest.mark.parametrize("case", [case for case in OPTIMIZERS if case.peer], ids=str)


def fresh(dtype: torch.dtype = torch.float64, shapes: Sequence[tuple[int, ...]] = SHAPES) -> Parameters:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


def clones(params: Parameters, dtype: torch.dtype | None = None) -> Parameters:
    return [param.detach().clone().to(dtype or param.dtype).requires_grad_() for param in params]


def gradient(param: torch.Tensor, step: int, salt: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(100 * step + salt)
    return torch.randn(param.shape, generator=generator).to(param.dtype)


def train(optimizer: torch.optim.Optimizer, params: Parameters, steps: range = range(STEPS)) -> Parameters:
    for step in steps:
        for salt, param in enumerate(params):
            param.grad = gradient(param, step, salt)
        optimizer.step()
    return [param.detach() for param in params]


def same(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> bool:
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def close(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> None:
    torch.testing.assert_close(list(ours), list(theirs), rtol=1e-12, atol=1e-14)


def without_decay(case: OptimizerCase, params: Any, **more: Any) -> steadystep.Optimizer:
    return case.make(params, **{"weight_decay": 0.0, **more})


# Parameters and gradients of every layout and dtype.


@every_case
def test_goes_in_the_right_direction(case: OptimizerCase) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    optimizer = case.make(model.named_parameters(), maximize=False)
    inputs = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))

    def loss() -> torch.Tensor:
        assert torch.is_grad_enabled()
        optimizer.zero_grad()
        value = (model(inputs) - 3.0 - inputs[:, :1]).square().mean()
        value.backward()
        return value

    with torch.no_grad():
        losses = [optimizer.step(loss).item() for _ in range(20)]
    assert losses[-1] < losses[0]
    assert optimizer.ledger["applied"] == 20
    assert set(optimizer.ledger["norms"]) == {name for name, _ in model.named_parameters()}


@every_case
def test_layouts_do_not_matter(case: OptimizerCase) -> None:
    """Test transposed, channels-last and gapped parameters, with expanded or differently strided gradients."""

    def transposed(x: torch.Tensor) -> torch.Tensor:
        return x.transpose(0, 1).contiguous().transpose(0, 1)

    def with_gaps(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x, x], -1)[..., 0]

    def channels_last(x: torch.Tensor) -> torch.Tensor:
        return x.contiguous(memory_format=torch.channels_last)

    layouts = (transposed, with_gaps, channels_last, torch.clone, transposed)
    other = (torch.clone, transposed, torch.clone, channels_last, with_gaps)
    plain = fresh(shapes=((4, 3), (4, 3), (2, 3, 2, 2), (2, 3, 2, 2), (4, 3)))
    params = [layout(param.detach()).requires_grad_() for layout, param in zip(layouts, plain, strict=True)]
    assert [param.is_contiguous() for param in params] == [False, False, False, True, False]
    mine, reference = case.make(params), case.make(plain)
    for step in range(STEPS):
        for salt, (param, contiguous, layout) in enumerate(zip(params, plain, other, strict=True)):
            contiguous.grad = gradient(contiguous, step, salt)
            param.grad = layout(contiguous.grad)
        if step == 4:
            plain[0].grad, params[0].grad = torch.ones(4, 3).double(), torch.ones(()).double().expand(4, 3)
        mine.step()
        reference.step()
        if step == 2:
            mine.load_state_dict(mine.state_dict())
    close(params, plain)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
@every_case
def test_complex_parameters_step_like_pairs_of_real_numbers(case: OptimizerCase, dtype: torch.dtype) -> None:
    params = fresh(dtype)
    pairs = [torch.view_as_real(param.detach()).clone().requires_grad_() for param in params]
    mine, reference = case.make(params), case.make(pairs)
    for step in range(STEPS):
        for param, pair in zip(params, pairs, strict=True):
            pair.grad = gradient(pair, step)
            number = torch.view_as_complex(pair.grad)
            param.grad = (
                number.conj_physical().conj() if step % 2 else number
            )  # backward returns some with the conjugate bit set
        mine.step()
        reference.step()
        if step == 3:
            mine.load_state_dict(copy.deepcopy(mine.state_dict()))
    assert same([torch.view_as_real(param) for param in params], pairs)
    for param, pair in zip(params, pairs, strict=True):
        for slot, value in mine.state[param].items():
            got = torch.view_as_real(value) if value.is_complex() else value
            assert torch.equal(got, reference.state[pair][slot]), slot


@every_case
def test_mixed_dtypes_step_as_in_separate_optimizers(case: OptimizerCase) -> None:
    kinds = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.complex64)
    together, apart = ([fresh(kind, [(4, 3)])[0] for kind in kinds] for _ in range(2))
    train(case.make(together), together)
    for salt, param in enumerate(apart):
        alone = case.make([param])
        for step in range(STEPS):
            param.grad = gradient(param, step, salt)
            alone.step()
    assert same(together, apart) and [param.dtype for param in together] == list(kinds)


@every_case
def test_late_missing_and_empty_gradients(case: OptimizerCase) -> None:
    """A late gradient, a group added later, a frozen and an empty parameter behave as in separate optimizers."""
    params = fresh(shapes=((4, 3), (3,), (2, 2), (5,), (0, 3)))
    alone = clones(params)
    steady, late, newcomer, frozen, empty = params
    frozen.requires_grad_(False)
    optimizer = case.make([steady, late, frozen, empty])
    others = [case.make([alone[0]]), case.make([alone[1]]), case.make([alone[2]], lr=0.003)]
    joins = (0, 3, 5)
    for step in range(3 + STEPS):
        if step == joins[2]:
            optimizer.add_param_group({"params": newcomer, "lr": 0.003})
        empty.grad = torch.zeros_like(empty)
        for param, copied, other, join in zip((steady, late, newcomer), alone, others, joins, strict=False):
            if step >= join:
                param.grad = gradient(param, step)
                copied.grad = param.grad.clone()
                other.step()
        optimizer.step()
        if step == 6:
            optimizer.load_state_dict(optimizer.state_dict())
    assert same(params, alone)
    assert not torch.equal(newcomer, fresh(shapes=((4, 3), (3,), (2, 2)))[2])
    assert frozen not in optimizer.state and optimizer.ledger["applied"] == 3 + STEPS


@every_case
def test_groups_step_as_separate_optimizers(case: OptimizerCase) -> None:
    params = fresh()
    alone = clones(params)
    options = [{"lr": 0.02}, {"lr": 0.005, "weight_decay": 0.2}, {"maximize": True}]
    grouped = case.make([{"params": [param], **group} for param, group in zip(params, options, strict=True)])
    train(grouped, params)
    for salt, (param, group) in enumerate(zip(alone, options, strict=True)):
        optimizer = case.make([param], **group)
        for step in range(STEPS):
            param.grad = gradient(param, step, salt)
            optimizer.step()
    assert same(params, alone)


@every_case
def test_zero_gradients_and_none(case: OptimizerCase) -> None:
    params = fresh()
    optimizer = without_decay(case, params)
    optimizer.step()
    assert not optimizer.state and optimizer.ledger["attempted"] == 0
    for param in params:
        param.grad = torch.zeros_like(param)
    optimizer.step()
    drifts = case.options.get("variant") == "optax"  # its first moment starts at 1e-6, not at 0
    assert same(params, fresh()) is not drifts
    train(optimizer, params)
    before_zeroing = [param.grad for param in params]
    optimizer.zero_grad(set_to_none=False)
    for param, grad in zip(params, before_zeroing, strict=True):
        assert grad is not None and param.grad is grad and not grad.any()
    before = clones(params)
    optimizer.zero_grad()
    assert all(param.grad is None for param in params)
    optimizer.step()
    assert same(params, before) and optimizer.ledger["attempted"] == 1 + STEPS


@every_case
def test_weight_decay_pulls_towards_zero(case: OptimizerCase) -> None:
    """Weight decay, coupled or decoupled, shrinks the parameters, even with maximize."""
    param = torch.tensor([20.0, -10.0, 5.0], dtype=torch.float64, requires_grad=True)
    optimizer = case.make([param], weight_decay=0.1)
    for step in range(STEPS):
        param.grad = torch.zeros_like(param)
        before = param.detach().clone()
        optimizer.step()
        unrectified = (
            case.options.get("variant") == "author" and step < 5
        )  # the code of RAdam's authors has no decay then
        assert torch.equal(param, before) if unrectified else (param.detach() / before < 1).all()
    assert param.isfinite().all()


@every_case
def test_maximize_negates_the_gradients(case: OptimizerCase) -> None:
    up, down = fresh(), fresh()
    climber, optimizer = case.make(up, maximize=True), case.make(down, maximize=False)
    for step in range(STEPS):
        for salt, (a, b) in enumerate(zip(up, down, strict=True)):
            a.grad = gradient(a, step, salt)
            b.grad = -a.grad
        climber.step()
        optimizer.step()
    assert same(up, down)


@every_case
def test_learning_rates_as_tensors(case: OptimizerCase) -> None:
    params = fresh()
    lr = case.options["lr"]
    reference = case.make(params)
    decay = schedulers.ExponentialLR(reference, 0.9)
    for step in range(STEPS):
        train(reference, params, range(step, step + 1))
        decay.step()
    for shape in ((), (1,)):
        ours = fresh()
        optimizer = case.make(ours, lr=torch.full(shape, lr, dtype=torch.float64))
        decay = schedulers.ExponentialLR(optimizer, 0.9)
        for step in range(STEPS):
            train(optimizer, ours, range(step, step + 1))
            decay.step()
        close(ours, params)
        assert isinstance(optimizer.param_groups[0]["lr"], torch.Tensor)
        assert isinstance(optimizer.param_groups[0]["base_lr"], float)


def test_betas_as_tensors() -> None:
    ours, theirs = fresh(), fresh()
    betas = (torch.tensor(0.8, dtype=torch.float64), torch.tensor([0.9], dtype=torch.float64))
    close(
        train(steadystep.Adam(ours, betas=betas), ours),  # type: ignore[arg-type]
        train(steadystep.Adam(theirs, betas=(0.8, 0.9)), theirs),
    )


@pytest.mark.parametrize("name", ["SGD", "Adam", "LAMB"])
def test_a_thousand_tensors(name: str) -> None:
    params = fresh(torch.float32, [(3, 2)] * 1000)
    optimizer = getattr(steadystep, name)(params, clip=1.0)
    train(optimizer, params, range(2))
    assert len(optimizer.state) == len(optimizer.ledger["norms"]) == 1000
    assert not any(torch.equal(a, b) for a, b in zip(params, fresh(torch.float32, [(3, 2)] * 1000), strict=True))


# Checkpoints, copies and hooks.


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


def save_and_load(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


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


def test_a_conjugated_view_is_refused_with_its_name() -> None:
    param = torch.ones(2, dtype=torch.complex64).requires_grad_()
    optimizer = steadystep.Adam([("weight", param)])
    for _ in range(2):
        param.grad = torch.ones_like(param)
        optimizer.step()
    before = optimizer.state[param]["exp_avg"].clone()
    param.data = param.data.conj()
    with pytest.raises(ValueError, match="weight is a conjugated view"):
        optimizer.step()
    assert torch.equal(optimizer.state[param]["exp_avg"], before)


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


def test_step_hooks() -> None:
    params = fresh()
    optimizer = steadystep.SGD(params, lr=0.0)
    calls: list[str] = []
    handles = [
        optimizer.register_step_pre_hook(
            lambda optimizer, *_: ((optimizer, lambda: calls.append("closure") or 5.0), {})
        ),
        optimizer.register_step_post_hook(lambda *_: calls.append("after")),
        register_optimizer_step_post_hook(lambda *_: calls.append("after any")),
    ]
    try:
        assert optimizer.step() == 5.0  # a hook may replace the arguments
        assert calls == ["closure", "after", "after any"]
    finally:
        for handle in handles:
            handle.remove()
    assert optimizer.step() is None and len(calls) == 3


def test_names() -> None:
    params = fresh()
    named = steadystep.Adam([{"params": [("a", params[0])]}, {"params": [("b", params[1]), ("c", params[2])]}])
    train(named, params)
    assert set(named.ledger["norms"]) == {"a", "b", "c"}
    others = fresh()
    unnamed = steadystep.Adam([{"params": others[:1]}, {"params": others[1:]}])
    train(unnamed, others, range(1))
    labels = ["group 0, tensor 0, shape (4, 3)", "group 1, tensor 0, shape (3,)", "group 1, tensor 1, shape ()"]
    assert list(unnamed.ledger["norms"]) == labels
    unnamed.load_state_dict(named.state_dict())
    train(unnamed, others, range(1))
    assert list(unnamed.ledger["norms"]) == ["a", "b", "c"]
    others[1].grad = torch.full((3,), math.nan).double()
    unnamed.policy = type(unnamed.policy)("raise", 25)
    with pytest.raises(steadystep.NonFiniteGradientError, match="in b;"):
        unnamed.step()


# Invalid arguments.


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


# Schedulers and averaged models.

SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "LambdaLR": lambda o: schedulers.LambdaLR(o, lambda t: 1 / (1 + t)),
    "warm-up from 0": lambda o: schedulers.LambdaLR(o, lambda t: t / 4),
    "MultiplicativeLR": lambda o: schedulers.MultiplicativeLR(o, lambda t: 0.9),
    "StepLR": lambda o: schedulers.StepLR(o, 3, 0.1),
    "MultiStepLR": lambda o: schedulers.MultiStepLR(o, [2, 5], 0.5),
    "ConstantLR": lambda o: schedulers.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o: schedulers.LinearLR(o, 0.1, total_iters=4),
    "ExponentialLR": lambda o: schedulers.ExponentialLR(o, 0.8),
    "PolynomialLR": lambda o: schedulers.PolynomialLR(o, 6, 2.0),
    "CosineAnnealingLR": lambda o: schedulers.CosineAnnealingLR(o, 5),
    "CosineAnnealingWarmRestarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 3, 2),
    "CyclicLR": lambda o: schedulers.CyclicLR(o, 1e-3, 0.1, 2, cycle_momentum=False),
    "OneCycleLR": lambda o: schedulers.OneCycleLR(o, 0.1, 12, cycle_momentum=False),
    "ReduceLROnPlateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=1),
    "SequentialLR": lambda o: schedulers.SequentialLR(
        o, [schedulers.ConstantLR(o, 0.1, 3), schedulers.ExponentialLR(o, 0.9)], [3]
    ),
    "ChainedScheduler": lambda o: schedulers.ChainedScheduler(
        [schedulers.ConstantLR(o, 0.1, 3), schedulers.ExponentialLR(o, 0.9)], o
    ),
    "SWALR": lambda o: SWALR(o, 0.05, 3),
}


def advance(scheduler: Any) -> None:
    scheduler.step(*([1.0] if isinstance(scheduler, schedulers.ReduceLROnPlateau) else []))


@every_case
def test_schedulers_set_the_learning_rate(case: OptimizerCase) -> None:
    """The learning rate equals that of torch's optimizer; test_references tests that the steps use it."""
    for name, make in SCHEDULERS.items():
        params = fresh(shapes=[(3,)])
        optimizer, peer = case.make(params), torch.optim.SGD([leaf()], lr=case.options["lr"])
        following, leading = make(optimizer), make(peer)
        peer.step()
        for step in range(STEPS):
            assert optimizer.param_groups[0]["lr"] == peer.param_groups[0]["lr"], name
            assert optimizer.param_groups[0]["base_lr"] == case.options["lr"], name
            train(optimizer, params, range(step, step + 1))
            advance(following)
            advance(leading)
        assert params[0].isfinite().all() and not same(params, fresh(shapes=[(3,)])), name


@every_case
def test_one_cycle_sets_the_momentum(case: OptimizerCase) -> None:
    params = fresh()
    optimizer = case.make(params)
    if not {"momentum", "betas"} & optimizer.defaults.keys():
        with pytest.raises(ValueError, match="must support momentum"):
            schedulers.OneCycleLR(optimizer, 0.02, STEPS + 1)
        return
    cycle = schedulers.OneCycleLR(optimizer, 0.02, STEPS + 1)
    seen = []
    for step in range(STEPS):
        group = optimizer.param_groups[0]
        seen.append(group["betas"][0] if "betas" in group else group["momentum"])
        train(optimizer, params, range(step, step + 1))
        cycle.step()
    assert max(seen) == pytest.approx(0.95) and min(seen) < 0.87
    assert all(param.isfinite().all() for param in params)


@every_case
def test_warm_restarts_resume_within_a_cycle(case: OptimizerCase) -> None:
    def run(interrupted: bool) -> Parameters:
        params = fresh()
        optimizer = case.make(params)
        restarts = schedulers.CosineAnnealingWarmRestarts(optimizer, 4, 2, eta_min=1e-4)
        for step in range(14):
            if interrupted and step == 6:  # 2 steps into the second cycle, which has 8
                saved = save_and_load({"optimizer": optimizer.state_dict(), "scheduler": restarts.state_dict()})
                optimizer = case.make(params, lr=0.3)
                restarts = schedulers.CosineAnnealingWarmRestarts(optimizer, 4, 2, eta_min=1e-4)
                optimizer.load_state_dict(saved["optimizer"])
                restarts.load_state_dict(saved["scheduler"])
            train(optimizer, params, range(step, step + 1))
            restarts.step()
        return params

    assert same(run(True), run(False))


@every_case
def test_averaged_models(case: OptimizerCase) -> None:
    model = torch.nn.Linear(3, 2).double()
    optimizer = case.make(model.parameters())
    averaged, seen = AveragedModel(model), []
    for step in range(3):
        seen.append(torch.stack(train(optimizer, [model.weight], range(step, step + 1))))
        averaged.update_parameters(model)
    torch.testing.assert_close(averaged.module.get_parameter("weight").detach(), torch.cat(seen).mean(0))


@pytest.fixture
def compiler() -> Iterator[None]:
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("compiler")
def test_compiled_models() -> None:
    """The model is traced by torch.compile, without code generation, which would need a compiler and more time."""

    def run(compiled: bool) -> Parameters:
        params = fresh(shapes=((3, 3), (3,)))
        model = torch.nn.Linear(3, 3).double()
        model.load_state_dict(dict(zip(("weight", "bias"), params, strict=True)))
        optimizer = steadystep.AdamW(model.named_parameters(), lr=0.1, clip=0.5)
        forward = torch.compile(model, backend="aot_eager") if compiled else model
        for _ in range(4):
            optimizer.zero_grad()
            forward(torch.ones(2, 3).double()).square().sum().backward()
            optimizer.step()
        return [param.detach() for param in model.parameters()]

    close(run(True), run(False))


@pytest.mark.parametrize("clip", [None, 1e9])
def test_a_parameter_that_becomes_a_negated_view_of_its_memory_goes_on_as_torchs(clip: float | None) -> None:
    def run(make: Callable[[torch.Tensor], torch.optim.Optimizer]) -> torch.Tensor:
        numbers = torch.complex(torch.zeros(1), torch.ones(1))
        param = numbers.imag.detach().requires_grad_()
        optimizer = make(param)
        for step in range(6):
            if step == 3:
                param.data = numbers.conj().imag
            param.grad = torch.full((1,), 0.5 + step)
            optimizer.step()
        assert param.is_neg()
        return param.detach().resolve_neg()

    torch.testing.assert_close(
        run(lambda param: steadystep.Adam([param], lr=0.1, clip=clip)),
        run(lambda param: torch.optim.Adam([param], lr=0.1)),
    )
