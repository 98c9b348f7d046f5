"""Regression tests for defects found in clippers of other libraries; tests of the same defect share a number."""

import math
from typing import Any

import pytest
import torch

import steadystep
from cases import CLIPPERS, ClipperCase

STATEFUL = [case for case in CLIPPERS if case.make().start(1)]


def weights(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


def run(optimizer: steadystep.Optimizer, params: list[torch.Tensor], norms: list[float]) -> None:
    """Take one step for each norm, with a gradient of that norm and always in the same direction."""
    for norm in norms:
        for param in params:
            param.grad = torch.full_like(param, norm / math.sqrt(sum(p.numel() for p in params)))
        optimizer.step()


def statistics(optimizer: steadystep.Optimizer) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in optimizer.param_groups[0].items() if k.startswith("clip.")}


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours and ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("nonfinite", ["skip", "propagate"])
@pytest.mark.parametrize("case", STATEFUL, ids=str)
def test_1_one_bad_norm_does_not_poison_the_statistics(case: ClipperCase, nonfinite: Any, bad: float) -> None:
    params = weights((3, 2), (4,))
    optimizer = steadystep.SGD(params, lr=1e-6, clip=case.make(), nonfinite=nonfinite)
    run(optimizer, params, [1.0] * 12)
    before = statistics(optimizer)
    run(optimizer, params, [bad])
    after = statistics(optimizer)
    assert_same(after, before)
    with torch.no_grad():
        for param, start in zip(params, weights((3, 2), (4,)), strict=True):
            param.copy_(start)  # with "propagate" the parameters are not finite now
    applied = optimizer.ledger["applied"]
    run(optimizer, params, [1.0] * 12)
    assert optimizer.ledger["applied"] == applied + 12, "no step after the bad one is refused"
    assert math.isfinite(optimizer.ledger["norm_after"])


def test_2_an_infinite_norm_is_not_scale_zero() -> None:
    params = weights((4,))
    start = params[0].detach().clone()
    optimizer = steadystep.SGD(params, lr=1.0, clip=1.0, nonfinite="propagate")
    params[0].grad = torch.tensor([1.0, 2.0, math.inf, 3.0])
    optimizer.step()
    moved = start - params[0].detach()
    assert moved[[0, 1, 3]].tolist() == pytest.approx([1.0, 2.0, 3.0], abs=1e-6)
    assert moved[2] == math.inf


def test_2_an_infinite_bound_only_measures() -> None:
    params = weights((4,))
    optimizer = steadystep.SGD(params, lr=1.0, clip=math.inf)
    start = params[0].detach().clone()
    params[0].grad = torch.full((4,), 1e10)
    optimizer.step()
    torch.testing.assert_close(params[0].detach(), start - 1e10)
    assert (optimizer.ledger["norm_before"], optimizer.ledger["clipped"]) == (pytest.approx(2e10), 0)


def test_3_a_float16_norm_does_not_overflow() -> None:
    params = [torch.zeros(4, dtype=torch.float16, requires_grad=True)]
    optimizer = steadystep.SGD(params, lr=1.0, clip=1.0)
    params[0].grad = torch.full((4,), 4e4, dtype=torch.float16)
    optimizer.step()
    assert params[0].tolist() == [-0.5] * 4


def test_3_a_bfloat16_norm_is_not_quantised() -> None:
    params = [torch.zeros(1000, dtype=torch.bfloat16, requires_grad=True)]
    optimizer = steadystep.SGD(params, lr=1.0, clip=math.inf)
    params[0].grad = torch.full((1000,), 1.0, dtype=torch.bfloat16)
    optimizer.step()
    assert optimizer.ledger["norm_before"] == pytest.approx(math.sqrt(1000), rel=1e-12)


def test_4_skipping_is_not_multiplying_by_zero() -> None:
    params = weights((3,))
    optimizer = steadystep.Adam(params, clip=1.0)
    start = params[0].detach().clone()
    params[0].grad = torch.tensor([math.nan, 1.0, math.inf])
    optimizer.step()
    assert torch.equal(params[0].detach(), start)
    assert all(torch.equal(value, torch.zeros_like(value)) for value in optimizer.state[params[0]].values())


def test_5_agc_does_not_freeze_parameters_initialised_to_zero() -> None:
    params = [torch.zeros(2, 3, requires_grad=True)]
    optimizer = steadystep.SGD(params, lr=1.0, clip=steadystep.AGC(0.01))
    params[0].grad = torch.ones(2, 3)
    optimizer.step()
    assert torch.linalg.vector_norm(params[0], dim=1).tolist() == pytest.approx([1e-5] * 2, rel=1e-6)


def test_5_agc_units_are_the_rows_of_torchs_weight_layout() -> None:
    params = [torch.tensor([[3.0, 4.0], [0.3, 0.4]]).requires_grad_()]
    start = params[0].detach().clone()
    optimizer = steadystep.SGD(params, lr=1.0, clip=steadystep.AGC(0.1))
    params[0].grad = torch.full((2, 2), 100.0)
    optimizer.step()
    moved = torch.linalg.vector_norm(start - params[0].detach(), dim=1)
    assert moved.tolist() == pytest.approx([0.5, 0.05], rel=1e-5)


def test_6_clip_gradients_writes_in_place() -> None:
    params = weights((3,))
    params[0].grad = torch.tensor([6.0, 8.0, 0.0])
    held = params[0].grad
    assert steadystep.clip_gradients(params, 1.0) == 10.0
    assert params[0].grad is held and held.tolist() == pytest.approx([0.6, 0.8, 0.0])


def test_6_a_norm_above_the_bound_shrinks() -> None:
    params = weights((4,))
    optimizer = steadystep.SGD(params, lr=1e-9, clip=1.0)
    run(optimizer, params, [10.0])
    assert optimizer.ledger["norm_after"] == pytest.approx(1.0)


def test_6_the_warm_up_averages_the_norm_and_not_its_square() -> None:
    params = weights((4,))
    optimizer = steadystep.SGD(params, lr=1e-9, clip=steadystep.ZClip(warmup=5))
    run(optimizer, params, [3.0] * 5)
    assert statistics(optimizer)["clip.0.ZClip.mean"].item() == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("case", STATEFUL, ids=str)
def test_7_statistics_are_in_the_state_dict(case: ClipperCase) -> None:
    params = weights((3, 2), (4,))
    optimizer = steadystep.SGD(params, lr=1e-6, clip=case.make())
    run(optimizer, params, [1.0, 2.0, 3.0])
    other = steadystep.SGD(weights((3, 2), (4,)), lr=1e-6, clip=case.make())
    other.load_state_dict(optimizer.state_dict())
    assert_same(statistics(other), statistics(optimizer))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("case", STATEFUL, ids=str)
def test_8_refused_steps_do_not_enter_the_statistics(case: ClipperCase, bad: float) -> None:
    params = weights((3, 2), (4,))
    optimizer = steadystep.SGD(params, lr=1e-6, clip=[case.make(), steadystep.ClipNorm(math.inf)])
    run(optimizer, params, [1.0] * 6)
    before = statistics(optimizer)
    run(optimizer, params, [bad])
    assert (optimizer.ledger["applied"], optimizer.ledger["skipped_nonfinite"]) == (6, 1)
    assert_same(statistics(optimizer), before)


@pytest.mark.parametrize(
    "clipper",
    [steadystep.AutoClip(100), steadystep.ZClip(), steadystep.AdaGC(max_norm=math.inf), steadystep.SkipOutlier()],
    ids=str,
)
def test_8_overflowed_steps_do_not_enter_the_statistics(clipper: steadystep.Clipper) -> None:
    """A step is skipped if the square of its gradient overflows and the clipper has not reduced the gradient."""
    params = weights((3, 2), (4,))
    optimizer = steadystep.SGD(params, lr=1e-6, clip=clipper)
    run(optimizer, params, [1.0] * 3)
    before = statistics(optimizer)
    run(optimizer, params, [4e30])
    assert (optimizer.ledger["applied"], optimizer.ledger["skipped_overflow"]) == (3, 1)
    assert_same(statistics(optimizer), before)


def test_8_refusals_do_not_reset_the_step_count() -> None:
    params = weights((4,))
    optimizer = steadystep.Adam(params, lr=1e-6, clip=steadystep.ZClip(warmup=2))
    run(optimizer, params, [1.0, 1.0, math.nan, 1.0])
    assert optimizer.state[params[0]]["step"].item() == 3


@pytest.mark.parametrize("bound", [-1.0, 0.0, math.nan])
@pytest.mark.parametrize("clipper", [steadystep.ClipNorm, steadystep.ClipValue, steadystep.SmoothClip, steadystep.AGC])
def test_9_a_bound_that_is_not_positive_is_refused(clipper: Any, bound: float) -> None:
    with pytest.raises(ValueError, match=r"it must be a number greater than 0"):
        clipper(bound)


def test_10_a_global_norm_is_over_all_groups() -> None:
    a, b = weights((1,), (1,))
    optimizer = steadystep.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=1.0, clip=1.0)
    before = [a.item(), b.item()]
    a.grad, b.grad = torch.tensor([3.0]), torch.tensor([4.0])
    optimizer.step()
    assert before[0] - a.item() == pytest.approx(0.6) and before[1] - b.item() == pytest.approx(0.4)


def test_11_clipping_comes_after_unscaling() -> None:
    params = weights((4,))
    optimizer = steadystep.SGD(params, lr=1.0, clip=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    scaler.scale((params[0] * torch.tensor([0.3, 0.4, 0.0, 0.0])).sum()).backward()
    start = params[0].detach().clone()
    scaler.step(optimizer)
    torch.testing.assert_close(start - params[0].detach(), torch.tensor([0.3, 0.4, 0.0, 0.0]), rtol=1e-5, atol=1e-6)
    assert optimizer.ledger["clipped"] == 0


def test_12_a_generator_of_parameters_is_read_once() -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = steadystep.SGD(model.parameters(), clip=1.0)
    model(torch.ones(1, 2)).sum().backward()
    steadystep.clip_gradients((parameter for parameter in model.parameters()), 0.5)
    optimizer.step()
    assert optimizer.ledger["norm_before"] == pytest.approx(0.5)


@pytest.mark.parametrize("size", [1.3e154, 1e100, 1e-165, 1e-300])
def test_agc_measures_units_of_any_size(size: float) -> None:
    """In float64, the square of 1e155 overflows, and that of 1e-165 underflows to 0."""
    param = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    optimizer = steadystep.SGD([param], lr=1.0, clip=steadystep.AGC(size, floor=0.5))
    param.grad = torch.tensor([[1.0], [0.1]], dtype=torch.float64).expand(2, 4) * size
    optimizer.step()
    assert (-param.detach() / size)[:, 0].tolist() == pytest.approx([0.25, 0.1], rel=1e-12)
    assert optimizer.ledger["clipped"] == 1


def test_agc_names_an_unknown_parameter_in_exclude() -> None:
    model = torch.nn.Linear(3, 2)
    model(torch.ones(1, 3)).sum().backward()
    model.bias.grad = None  # the name is known without a gradient
    steadystep.SGD(model.named_parameters(), clip=steadystep.AGC(exclude=["bias"])).step()
    with pytest.raises(ValueError, match=r"AGC excludes \['bais'\], and the optimizer has no .* bias, weight"):
        steadystep.SGD(model.named_parameters(), clip=steadystep.AGC(exclude=["bais", "bias"])).step()
    with pytest.raises(TypeError, match=r"exclude is 'weight': give a list of names"):
        steadystep.AGC(exclude="weight")
