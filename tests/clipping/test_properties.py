"""What holds for every clipper, whatever the gradients."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import steadystep
from cases import CLIPPERS, ClipperCase

finite = st.floats(min_value=-1e150, max_value=1e150, allow_subnormal=False)
gradients = st.lists(st.lists(finite, min_size=1, max_size=5), min_size=1, max_size=4)


def clipped(clipper: steadystep.Clipper, values: list[list[float]]) -> list[torch.Tensor]:
    """The gradients as an update rule sees them: the first step of SGD from 0 with learning rate 1."""
    params = [torch.zeros(len(value), dtype=torch.float64, requires_grad=True) for value in values]
    optimizer = steadystep.SGD(params, lr=1.0, clip=clipper)
    for param, value in zip(params, values, strict=True):
        param.grad = torch.tensor(value, dtype=torch.float64)
    optimizer.step()
    assert optimizer.ledger["applied"] == 1
    return [-param.detach() for param in params]


def norm(tensors: list[torch.Tensor]) -> float:
    return math.hypot(*(x for tensor in tensors for x in tensor.tolist()))


@pytest.mark.parametrize("case", CLIPPERS, ids=str)
@given(values=gradients)
def test_finite_stays_finite_and_nothing_grows(case: ClipperCase, values: list[list[float]]) -> None:
    for after, before in zip(clipped(case.make(), values), values, strict=True):
        for x, y in zip(after.tolist(), before, strict=True):
            assert math.isfinite(x) and abs(x) <= abs(y) and x * y >= 0


@pytest.mark.parametrize("case", [case for case in CLIPPERS if case.idempotent], ids=str)
@given(values=gradients)
def test_clipping_twice_is_clipping_once(case: ClipperCase, values: list[list[float]]) -> None:
    once = clipped(case.make(), values)
    twice = clipped(case.make(), [tensor.tolist() for tensor in once])
    for a, b in zip(once, twice, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=0)


@given(values=gradients, bound=st.floats(1e-3, 1e3))
def test_the_bounds_hold(values: list[list[float]], bound: float) -> None:
    slack = bound * (1 + 1e-12)
    assert norm(clipped(steadystep.ClipNorm(bound), values)) <= slack
    assert all(norm([t]) <= slack for t in clipped(steadystep.ClipNorm(bound, scope="parameter"), values))
    assert all(abs(x) <= bound for t in clipped(steadystep.ClipValue(bound), values) for x in t.tolist())
    assert norm(clipped(steadystep.SmoothClip(bound), values)) <= slack
    # A parameter that is 0 counts as one of norm 1e-3, and a vector is one unit.
    assert all(norm([t]) <= 1e-3 * slack for t in clipped(steadystep.AGC(bound), values))
    moved = clipped(steadystep.ClipUpdate(bound), values)
    assert all(norm([t]) / math.sqrt(len(t)) <= slack for t in moved)


@pytest.mark.parametrize("case", [case for case in CLIPPERS if case.keeps_direction], ids=str)
@given(values=gradients)
def test_direction_is_kept(case: ClipperCase, values: list[list[float]]) -> None:
    before = torch.tensor([x for value in values for x in value], dtype=torch.float64)
    after = torch.cat(clipped(case.make(), values))
    largest = before.abs().argmax()
    if before[largest] != 0:
        ratio = after[largest] / before[largest]
        torch.testing.assert_close(after, before * ratio, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(
    "case", [case for case in CLIPPERS if not isinstance(case.make(), steadystep.ClipValue)], ids=str
)
@given(values=gradients)
def test_direction_is_kept_tensor_by_tensor(case: ClipperCase, values: list[list[float]]) -> None:
    for value, after in zip(values, clipped(case.make(), values), strict=True):
        before = torch.tensor(value, dtype=torch.float64)
        largest = before.abs().argmax()
        if before[largest] != 0:
            torch.testing.assert_close(after, before * (after[largest] / before[largest]), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(
    "make",
    [
        lambda largest: steadystep.ClipNorm(largest, scope="group"),
        lambda largest: steadystep.ClipNorm(largest, scope="parameter"),
        lambda largest: steadystep.AGC(largest / 1e-3 * (1 + 1e-9)),
        lambda largest: steadystep.AutoClip(100),
        lambda largest: steadystep.ZClip(max_norm=largest),
        lambda largest: steadystep.AdaGC(max_norm=largest),
        steadystep.ClipUpdate,
        lambda largest: steadystep.SkipOutlier(),
    ],
    ids=["ClipNorm group", "ClipNorm parameter", "AGC", "AutoClip", "ZClip", "AdaGC", "ClipUpdate", "SkipOutlier"],
)
@given(values=gradients)
def test_no_clipper_touches_what_is_within_its_bound(
    make: Callable[[float], steadystep.Clipper], values: list[list[float]]
) -> None:
    largest = max(math.hypot(*(x for value in values for x in value)), 1e-30) * (1 + 1e-9)
    assert [t.tolist() for t in clipped(make(largest), values)] == values


@given(values=gradients)
def test_a_gradient_within_the_bound_is_not_touched(values: list[list[float]]) -> None:
    largest = max(math.hypot(*(x for value in values for x in value)), 1e-30) * (1 + 1e-9)
    clippers = (steadystep.ClipNorm(largest), steadystep.ClipNorm(math.inf), steadystep.ClipValue(largest))
    for clipper in clippers:
        assert [t.tolist() for t in clipped(clipper, values)] == values


@given(values=gradients, data=st.data())
def test_the_global_norm_does_not_depend_on_grouping_or_order(values: list[list[float]], data: st.DataObject) -> None:
    flat = [x for value in values for x in value]
    order = data.draw(st.permutations(range(len(flat))))
    together = clipped(steadystep.ClipNorm(1.0), [flat])[0]
    apart = torch.cat(clipped(steadystep.ClipNorm(1.0), [[flat[i]] for i in order]))
    torch.testing.assert_close(apart, together[torch.tensor(order)], rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("case", CLIPPERS, ids=str)
@given(values=gradients, data=st.data())
def test_the_order_of_the_tensors_does_not_matter(
    case: ClipperCase, values: list[list[float]], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(values))))
    straight = clipped(case.make(), values)
    for place, after in zip(order, clipped(case.make(), [values[i] for i in order]), strict=True):
        torch.testing.assert_close(after, straight[place], rtol=1e-12, atol=1e-300)


@given(values=gradients, data=st.data())
def test_it_is_the_same_however_grouped_but_by_group(values: list[list[float]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(values)))
    for case in CLIPPERS:
        if isinstance(clipper := case.make(), steadystep.ClipNorm) and clipper.scope == "group":
            continue
        params = [torch.zeros(len(value), dtype=torch.float64, requires_grad=True) for value in values]
        groups = [{"params": group} for group in (params[:cut], params[cut:]) if group]
        optimizer = steadystep.SGD(groups, lr=1.0, clip=clipper)
        for param, value in zip(params, values, strict=True):
            param.grad = torch.tensor(value, dtype=torch.float64)
        optimizer.step()
        for param, together in zip(params, clipped(case.make(), values), strict=True):
            assert torch.equal(-param.detach(), together)


def test_group_scope_clips_each_group_by_its_own_norm() -> None:
    a, b, c = (torch.zeros(1, requires_grad=True) for _ in range(3))
    optimizer = steadystep.SGD(
        [{"params": [a, b]}, {"params": [c]}], lr=1.0, clip=steadystep.ClipNorm(1.0, scope="group")
    )
    for tensor, gradient in ((a, 3.0), (b, 4.0), (c, 0.5)):
        tensor.grad = torch.tensor([gradient])
    optimizer.step()
    assert [round(t.item(), 6) for t in (a, b, c)] == [-0.6, -0.8, -0.5]


def test_a_chain_is_applied_in_order() -> None:
    def step(*clip: float | steadystep.Clipper) -> list[float]:
        weight = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        optimizer = steadystep.SGD([weight], lr=1.0, clip=clip)
        weight.grad = torch.tensor([-30.0, 4.0], dtype=torch.float64)
        optimizer.step()
        return [round(x, 9) for x in weight.tolist()]

    assert step(steadystep.ClipValue(3.0), 1.0) == [round(3 / math.hypot(3, 3), 9), -round(3 / math.hypot(3, 3), 9)]
    assert step(10.0, steadystep.ClipValue(3.0)) == [3.0, -round(40 / math.hypot(30, 4), 9)]


def test_a_tiny_scale_factor_is_not_lost_in_float32() -> None:
    weight = torch.zeros(2, requires_grad=True)
    optimizer = steadystep.SGD([weight], lr=1.0, clip=1e-3)
    weight.grad = torch.tensor([3e38, 1e38])
    optimizer.step()
    want = torch.tensor([-3.0, -1.0]) / math.sqrt(10) * 1e-3
    torch.testing.assert_close(weight.detach(), want)
