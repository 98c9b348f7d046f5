"""What a guarded step guarantees for any gradients, its ledger, and its checkpoints."""

import copy
import io
import math
import pickle
import random
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import steadystep
from cases import CLIPPERS, OPTIMIZERS, ClipperCase, OptimizerCase
from steadystep.kernels import update_rms

HALF_ULP = 2.0**-8  # of a bfloat16 between 1 and 2
BAD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "too large to square": 1e30}


def parameters(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator).to(dtype).requires_grad_() for s in ((5, 3), (3,), (2, 2, 2))]


def set_gradients(params: list[torch.Tensor], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator).to(param.dtype)


def snapshot(optimizer: torch.optim.Optimizer, params: list[torch.Tensor]) -> list[torch.Tensor]:
    state = [entry[name] for entry in optimizer.state.values() for name in sorted(entry)]
    return [tensor.detach().clone() for tensor in (*params, *state)]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_a_refused_step_changes_nothing(case: OptimizerCase, bad: str) -> None:
    params, undisturbed = parameters(), parameters()
    optimizer, reference = case.make(params), case.make(undisturbed)
    for step in range(6):
        if step == 3:
            set_gradients(params, 99)
            assert params[1].grad is not None
            params[1].grad[2] = BAD[bad]
            before = snapshot(optimizer, params)
            optimizer.step()
            assert same(snapshot(optimizer, params), before)
        for group, owner in ((params, optimizer), (undisturbed, reference)):
            set_gradients(group, step)
            owner.step()
    assert same(snapshot(optimizer, params), snapshot(reference, undisturbed))
    ledger = optimizer.ledger
    reason = "skipped_overflow" if bad == "too large to square" else "skipped_nonfinite"
    assert (ledger["attempted"], ledger["applied"], ledger["skipped"], ledger[reason]) == (7, 6, 1, 1)


@pytest.mark.parametrize("clipper", CLIPPERS, ids=str)
@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_no_clipper_hides_a_non_finite_gradient(clipper: ClipperCase, bad: str) -> None:
    params = parameters()
    optimizer = steadystep.Adam(params, clip=clipper.make())
    set_gradients(params, 0)
    assert params[2].grad is not None
    params[2].grad[0, 0, 0] = BAD[bad]
    optimizer.step()
    assert same(params, parameters())
    assert optimizer.ledger["skipped_nonfinite"] == 1


def test_a_gradient_that_overflows_only_before_clipping_is_applied() -> None:
    params = parameters()
    optimizer = steadystep.Adam(params, clip=1.0)
    set_gradients(params, 0)
    assert params[0].grad is not None
    params[0].grad[0, 0] = 1e30
    optimizer.step()
    assert optimizer.ledger["applied"] == 1
    assert optimizer.ledger["norm_after"] == pytest.approx(1.0)
    assert all(torch.isfinite(param).all() for param in params)


@pytest.mark.parametrize("clip", [None, math.inf], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_largest_accepted_gradient_is_the_largest_that_can_be_squared(
    dtype: torch.dtype, clip: float | None
) -> None:
    moments = torch.float64 if dtype == torch.float64 else torch.float32
    below = torch.tensor(torch.finfo(moments).max ** 0.5 * (1 - 2**-7), dtype=moments).to(dtype)
    above = torch.tensor(torch.finfo(moments).max ** 0.5 * (1 + 2**-7), dtype=moments).to(dtype)
    assert below.to(moments).square().isfinite() and above.to(moments).square().isinf()
    param = torch.zeros(2, dtype=dtype, requires_grad=True)
    optimizer = steadystep.Adam([param], clip=clip)
    for gradient, applied, refused in ((below, 1, 0), (above, 1, 1), (-above, 1, 2), (-below, 2, 2)):
        param.grad = torch.stack([gradient, torch.ones_like(gradient)])
        optimizer.step()
        assert (optimizer.ledger["applied"], optimizer.ledger["skipped_overflow"]) == (applied, refused)
        assert all(state.isfinite().all() for state in (param, *optimizer.state[param].values()))


def test_raise_names_the_tensors_and_changes_nothing() -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = steadystep.Adam(model.named_parameters(), nonfinite="raise")
    model(torch.full((1, 3), math.inf)).sum().backward()
    before = [param.detach().clone() for param in model.parameters()]
    with pytest.raises(steadystep.NonFiniteGradientError, match="non-finite gradient in weight; parameters"):
        optimizer.step()
    assert same(before, list(model.parameters()))
    params = parameters()
    set_gradients(params, 0)
    assert params[0].grad is not None
    params[0].grad[0, 0] = 1e30
    with pytest.raises(steadystep.NonFiniteGradientError, match=r"overflows in group 0, tensor 0, shape \(5, 3\)"):
        steadystep.SGD(params, nonfinite="raise").step()


@pytest.mark.parametrize("clip", [None, 1.0, math.inf], ids=str)
def test_propagate_is_torch(clip: float | None) -> None:
    ours, theirs = parameters(), parameters()
    mine, peer = steadystep.Adam(ours, clip=clip, nonfinite="propagate"), torch.optim.Adam(theirs)
    for params, optimizer in ((ours, mine), (theirs, peer)):
        for param in params:
            param.grad = torch.full_like(param, 0.01)
        assert params[1].grad is not None
        params[1].grad[0] = math.nan
        optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)
    assert math.isnan(ours[1][0].item())
    assert mine.ledger["applied"] == 1 and mine.ledger["skipped"] == 0


def test_an_infinite_norm_clips_nothing() -> None:
    """A scale of 0 would silently turn finite gradients into 0 and infinite ones into NaN."""
    params = parameters()
    optimizer = steadystep.SGD(params, lr=1.0, clip=1.0, nonfinite="propagate")
    set_gradients(params, 0)
    assert params[0].grad is not None
    params[0].grad[0, 0] = math.inf
    moved = [param.detach() - param.grad for param in params if param.grad is not None]
    optimizer.step()
    for param, want in zip(params, moved, strict=True):
        torch.testing.assert_close(param.detach(), want)


def test_too_many_refusals_in_a_row_raise() -> None:
    params = parameters()
    optimizer = steadystep.SGD(params, max_consecutive_skips=3)
    for step in range(8):
        set_gradients(params, step)
        if step != 3:  # one accepted step in between resets the count
            assert params[0].grad is not None
            params[0].grad[0, 0] = math.nan
        if step == 7:
            with pytest.raises(steadystep.TooManySkipsError, match="4 steps in a row"):
                optimizer.step()
        else:
            optimizer.step()


def test_the_ledger_counts_steps_and_records_norms() -> None:
    weight = torch.zeros(2, requires_grad=True)
    optimizer = steadystep.SGD([("weight", weight)], lr=0.0, clip=1.0)
    assert optimizer.ledger["attempted"] == 0 and math.isnan(optimizer.ledger["norm_before"])
    for gradient in ([3.0, 4.0], [0.3, 0.4], [math.nan, 0.0], [0.0, 2.0]):
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    ledger = optimizer.ledger
    assert {k: ledger[k] for k in ("attempted", "applied", "skipped", "clipped", "consecutive_skips")} == {
        "attempted": 4, "applied": 3, "skipped": 1, "clipped": 2, "consecutive_skips": 0,
    }  # fmt: skip
    assert (ledger["norm_before"], ledger["norm_after"], ledger["scale"]) == (2.0, 1.0, 0.5)
    assert ledger["clip_rate"] == pytest.approx(2 / 3)
    weights = [0.01 * 0.99**2, 0.01 * 0.99, 0.01]
    want = sum(w * n for w, n in zip(weights, (5.0, 0.5, 2.0), strict=True)) / sum(weights)
    assert ledger["running_norm_before"] == pytest.approx(want, rel=1e-6)
    assert ledger["norms"] == {"weight": 2.0}


class NoReading(TorchDispatchMode):
    """A mode that fails on every operation that reads a tensor's value into Python."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert "_local_scalar_dense" not in str(func) and "is_nonzero" not in str(func), f"{func} reads a value"
        return func(*args, **(kwargs or {}))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: on a CPU there is no synchronisation")
@pytest.mark.parametrize("clip", ["chain", "update"])
@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_nothing_is_read_back_on_a_device(case: OptimizerCase, clip: str) -> None:
    params = [param.detach().cuda().requires_grad_() for param in parameters()]
    if clip == "chain":
        optimizer = case.make(params, clip=[steadystep.ClipValue(2.0), 1.0])
    else:
        optimizer = case.make(params, lr=torch.tensor(0.01, device="cuda"), clip=steadystep.ClipUpdate(0.5))
    for param in params:
        param.grad = torch.randn_like(param)
    optimizer.step()  # the first step creates the state
    torch.cuda.set_sync_debug_mode("error")
    try:
        with NoReading():
            optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("lr", [0.0, 0.1])
def test_the_bound_on_updates_reads_no_learning_rate_back(lr: float) -> None:
    totals = [torch.tensor(x, dtype=torch.float64) for x in (32.0, 0.0)]
    with NoReading():
        factor, exceeds = update_rms.limit(totals, 2, torch.tensor(lr, dtype=torch.float64), 0.5)
    assert (factor.item(), exceeds.item()) == (pytest.approx(0.5 * lr / 4.0 if lr else 1.0), lr > 0)


@pytest.mark.parametrize("clipper", CLIPPERS, ids=str)
@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_resuming_is_bitwise(case: OptimizerCase, clipper: ClipperCase) -> None:
    rng = random.Random(f"{case} {clipper}")
    saved, pickled, copied = (rng.randrange(12) for _ in range(3))

    def run(interrupted: bool) -> tuple[list[torch.Tensor], dict[str, Any]]:
        params = parameters()
        optimizer = case.make(params, clip=clipper.make())
        for step in range(12):
            if interrupted and step == saved:
                file = io.BytesIO()
                torch.save(optimizer.state_dict(), file)
                file.seek(0)
                optimizer = case.make(params, clip=clipper.make())
                optimizer.load_state_dict(torch.load(file, weights_only=True))
            if interrupted and step == pickled:
                optimizer = pickle.loads(pickle.dumps(optimizer))
                params = optimizer.param_groups[0]["params"]
            if interrupted and step == copied:
                optimizer = copy.deepcopy(optimizer)
                params = optimizer.param_groups[0]["params"]
            set_gradients(params, step)
            if step == 6:
                params[0].grad = None
            optimizer.step()
        return snapshot(optimizer, params), optimizer.ledger

    (ours, ledger), (reference, expected) = run(True), run(False)
    assert same(ours, reference)
    assert ledger == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_half_precision_keeps_float32_moments_through_a_checkpoint(case: OptimizerCase, dtype: torch.dtype) -> None:
    params = parameters(dtype)
    optimizer = case.make(params, clip=1.0)
    for step in range(3):
        set_gradients(params, step)
        optimizer.step()
    clone = case.make([param.detach().clone().requires_grad_() for param in params], clip=1.0)
    clone.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for mine, theirs in zip(optimizer.state.values(), clone.state.values(), strict=True):
        for slot, value in mine.items():
            assert (value.dim() == 0 or value.dtype == torch.float32) and torch.equal(value, theirs[slot])
    assert all(param.dtype == dtype for param in params)


@pytest.mark.parametrize("rounding", ["stochastic", "kahan"])
@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_updates_below_the_precision_of_bfloat16_are_not_lost(case: OptimizerCase, rounding: Any) -> None:
    """1 - 1e-4 is 1 in bfloat16: with rounding to nearest, the parameter would never change."""
    torch.manual_seed(0)
    half = torch.ones(4096, dtype=torch.bfloat16, requires_grad=True)
    full = torch.ones(4096, requires_grad=True)
    options = {"lr": 1e-4, "weight_decay": 0.0}
    mine, reference = case.make([half], rounding=rounding, **options), case.make([full], **options)
    for _ in range(40):
        half.grad, full.grad = torch.ones_like(half), torch.ones_like(full)
        mine.step()
        reference.step()
    moved, want = half.float().mean().item() - 1, full.mean().item() - 1
    assert moved == pytest.approx(want, rel=0.2, abs=4e-4 if rounding == "stochastic" else 1.01 * HALF_ULP)
    if rounding == "kahan":
        exact = half.float() + mine.state[half]["rounding_error"]
        torch.testing.assert_close(exact.detach(), full.detach())


def test_a_step_inside_backward_cannot_clip() -> None:
    params = parameters()
    optimizer = steadystep.SGD(params, clip=1.0)
    params[0].register_post_accumulate_grad_hook(lambda _: optimizer.step())
    with pytest.raises(RuntimeError, match=r"called inside backward\(\)"):
        sum((param * 2).sum() for param in params).backward()  # type: ignore[union-attr]


@pytest.mark.parametrize("value", [4e4, 6e4])
def test_float16_norm_does_not_overflow(value: float) -> None:
    """A norm of four values of 40000 computed in float16 would overflow, and every clipped gradient would be 0."""
    weight = torch.zeros(4, dtype=torch.float16, requires_grad=True)
    optimizer = steadystep.SGD([weight], lr=1.0, clip=1.0)
    weight.grad = torch.full((4,), value, dtype=torch.float16)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((4,), -0.5, dtype=torch.float16))
    assert optimizer.ledger["norm_before"] == pytest.approx(2 * value, rel=1e-3)


@pytest.mark.usefixtures("double_by_default")
def test_complex_parameters_step_as_torch_does() -> None:
    for case in OPTIMIZERS:
        if case.peer is None:
            continue
        ours = [torch.complex(torch.ones(3).double(), torch.arange(3.0).double()).requires_grad_()]
        theirs = [ours[0].detach().clone().requires_grad_()]
        mine, peer = case.make(ours), case.peer(theirs, **case.options)
        for _ in range(5):
            for params, optimizer in ((ours, mine), (theirs, peer)):
                optimizer.zero_grad()
                (params[0] * (2 + 1j)).abs().square().sum().backward()
                optimizer.step()
        torch.testing.assert_close(ours[0], theirs[0], rtol=1e-12, atol=1e-14)
