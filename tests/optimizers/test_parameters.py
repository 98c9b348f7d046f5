"""Parameters and gradients of every layout and dtype, in groups, late, missing, or changed between steps."""

import copy
import gc
import math
import weakref
from collections.abc import Callable

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
    gradient,
    same,
    train,
    without_decay,
)


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


@pytest.mark.parametrize("backend", ["numba", "eager"])
@every_case
def test_autograd_knows_what_a_step_has_written(case: OptimizerCase, backend: str) -> None:
    """A backward pass through values from before the step must raise an error, as with torch's optimizers."""
    params = fresh()
    optimizer = case.make(params, backend=backend, clip=1.0)
    for step in range(STEPS):  # of which the later ones are replayed
        before = [param._version for param in params]
        train(optimizer, params, range(step, step + 1))
        assert all(param._version > version for param, version in zip(params, before, strict=True))
        for param in params:
            param.grad = torch.full_like(param, math.nan)
        before = [param._version for param in params]
        optimizer.step()
        assert [param._version for param in params] == before, "a refused step has written nothing"


def test_a_backward_pass_through_weights_that_have_been_stepped_is_an_error() -> None:
    weight = torch.tensor(2.0, requires_grad=True)
    factor = torch.tensor(3.0, requires_grad=True)
    optimizer = steadystep.SGD([weight], lr=1.0)
    square = (factor * weight).square()
    weight.grad = torch.tensor(1.0)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        square.backward()


@every_case
def test_parameters_can_be_swapped_between_steps(case: OptimizerCase) -> None:
    params, others = fresh(), fresh()
    optimizer, peer = case.make(params), case.make(others)
    for start in range(0, STEPS, 2):
        assert same(train(optimizer, params, range(start, start + 2)), train(peer, others, range(start, start + 2)))
        for param in params:
            param.grad = None
            torch.utils.swap_tensors(param, param.detach().clone().requires_grad_())


def test_a_parameter_without_elements_costs_no_new_plan() -> None:
    empty = torch.zeros(0, requires_grad=True)
    params = [torch.zeros(3, requires_grad=True), empty]
    optimizer = steadystep.Adam(params, clip=1.0)
    plans = set()
    for step in range(4):
        train(optimizer, params, range(step, step + 1))
        plans.add(id(optimizer._plan))
    assert len(plans) == 1
    empty.data = torch.zeros(2)
    train(optimizer, params)
    assert not empty.eq(0).any()


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")
def test_moments_of_half_precision_complex_numbers_are_precise() -> None:
    def last_change(dtype: torch.dtype) -> torch.Tensor:
        param = torch.zeros(4, dtype=dtype, requires_grad=True)
        optimizer, before = steadystep.Adam([param], lr=1e-3), param
        for _ in range(50):
            before = param.detach().clone()
            param.grad = torch.full((4,), 1e-3, dtype=dtype)
            optimizer.step()
        return torch.view_as_real(param.detach().to(torch.complex64) - before.to(torch.complex64))

    torch.testing.assert_close(last_change(torch.complex32), last_change(torch.complex64), rtol=0.05, atol=0)


@every_case
def test_a_step_that_raises_keeps_no_gradient(case: OptimizerCase) -> None:
    params = fresh()
    optimizer = case.make(params, nonfinite="raise")
    train(optimizer, params, range(3))
    for param in params:
        param.grad = torch.full_like(param, math.nan)
    gone = [weakref.ref(param.grad) for param in params]
    with pytest.raises(steadystep.NonFiniteGradientError):
        optimizer.step()
    optimizer.zero_grad()
    gc.collect()
    assert all(gradient() is None for gradient in gone)
