"""Properties of every clipper in the table, for arbitrary gradients after its warm-up.

tests/ranks.py tests the last property, independence of the sharding, with two processes.
"""

import copy
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import steadystep
from cases import CLIPPERS, ClipperCase
from reference import clipping as reference
from warmed import step, warm_gradients

finite = st.one_of(
    st.floats(min_value=-1e150, max_value=1e150, allow_subnormal=False), st.floats(-10, 10, allow_subnormal=False)
)
gradients = st.lists(st.lists(finite, min_size=1, max_size=5), min_size=1, max_size=4)
moderate = st.lists(
    st.lists(st.floats(-1e4, 1e4, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6), min_size=1, max_size=5),
    min_size=1,
    max_size=4,
)
"""Values whose squares, and whose quotients' squares, do not leave the range of float32."""

every_clipper = pytest.mark.parametrize("case", CLIPPERS, ids=str)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}


def norm(tensors: Sequence[torch.Tensor | Sequence[float]]) -> float:
    return math.hypot(*(float(x) for tensor in tensors for x in tensor))


def clipped(case: ClipperCase, values: list[list[float]]) -> list[torch.Tensor]:
    return step(case, values)[0]


def case_of(name: str, **options: object) -> ClipperCase:
    return ClipperCase(lambda: getattr(steadystep, name)(**options))


def warm(clipper: reference.Clipper, tensors: int) -> reference.Clipper:
    """Return the reference after the same warm-up as the clipper."""
    for step_gradients in warm_gradients(tensors):
        _, accepted = clipper.step([list(gradient) for gradient in step_gradients])
        assert accepted
    return clipper


# Finite gradients stay finite; no clipper amplifies; the state can be saved at any step.


@every_clipper
@given(values=gradients)
def test_finite_stays_finite_and_nothing_grows(case: ClipperCase, values: list[list[float]]) -> None:
    for after, before in zip(clipped(case, values), values, strict=True):
        for x, y in zip(after.tolist(), before, strict=True):
            assert math.isfinite(x) and abs(x) <= abs(y) and (x == 0 or (x < 0) == (y < 0))


@every_clipper
@settings(max_examples=40)
@given(
    norms=st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=14),
    bad=st.sampled_from([None, math.nan, 1e200]),
    data=st.data(),
)
def test_state_survives_a_save_at_any_step(
    case: ClipperCase, norms: list[float], bad: float | None, data: st.DataObject
) -> None:
    if bad is not None:
        norms.insert(data.draw(st.integers(0, len(norms))), bad)
    saved = data.draw(st.integers(0, len(norms)))

    def make() -> tuple[list[torch.Tensor], steadystep.Optimizer]:
        params = [torch.zeros(size, dtype=torch.float64, requires_grad=True) for size in (2, 3)]
        return params, steadystep.SGD(params, lr=1.0, clip=case.make(), max_consecutive_skips=100)

    (params, optimizer), (others, undisturbed) = make(), make()
    for number, size in enumerate(norms):
        if number == saved:
            before, (params, resumed) = params, make()
            resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
            for param, value in zip(params, before, strict=True):
                param.data.copy_(value.detach())
            optimizer = resumed
        for group, owner in ((params, optimizer), (others, undisturbed)):
            group[0].grad = torch.full((2,), size, dtype=torch.float64)
            group[1].grad = torch.full((3,), 1.0 / (1 + number), dtype=torch.float64)
            owner.step()
    assert all(torch.equal(a, b) for a, b in zip(params, others, strict=True))
    ours, theirs = ({**owner.ledger, "norms": None, "update_norms": None} for owner in (optimizer, undisturbed))
    assert repr(ours) == repr(theirs)  # compared as text because NaN, if no step was applied, is not equal to itself


# The bound holds after clipping.


@given(values=gradients, bound=st.floats(1e-3, 1e3))
def test_the_bounds_hold(values: list[list[float]], bound: float) -> None:
    slack = bound * (1 + 1e-12)
    assert norm(clipped(case_of("ClipNorm", max_norm=bound), values)) <= slack
    assert all(norm([t]) <= slack for t in clipped(case_of("ClipNorm", max_norm=bound, scope="parameter"), values))
    assert all(abs(x) <= bound for t in clipped(case_of("ClipValue", max_value=bound), values) for x in t.tolist())
    moved = clipped(case_of("ClipUpdate", max_rms=bound), values)
    assert all(norm([t]) / math.sqrt(len(t)) <= slack for t in moved)


@given(values=gradients, bound=st.floats(1e-3, 1e3))
def test_smooth_clipping_stays_below_its_bound(values: list[list[float]], bound: float) -> None:
    after = norm(clipped(case_of("SmoothClip", max_norm=bound), values))
    if norm(values) <= 1e9 * bound:
        assert after < bound
    else:  # closer to the bound than float64 can represent
        assert after <= bound * (1 + 1e-12)


@given(values=gradients, bound=st.floats(1e-3, 1e3), data=st.data())
def test_the_bound_of_a_group_holds(values: list[list[float]], bound: float, data: st.DataObject) -> None:
    groups = grouped(range(len(values)), data)
    after, _ = step(case_of("ClipNorm", max_norm=bound, scope="group"), values, groups=groups)
    for group in groups:
        before = norm([values[i] for i in group])
        assert norm([after[i] for i in group]) == pytest.approx(min(before, bound), rel=1e-12)


@given(
    rows=st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=4),
    weights=st.lists(st.floats(0, 1e3), min_size=4, max_size=4),
    ratio=st.floats(1e-3, 10),
)
def test_the_bound_of_each_row_holds(rows: list[list[float]], weights: list[float], ratio: float) -> None:
    """Weights with a norm below 1e-3 count as weights of norm 1e-3; a bias is one unit."""
    for units in (rows, [[x for row in rows for x in row]]):
        matrix = torch.zeros(len(units), len(units[0]), dtype=torch.float64)
        matrix[:, 0] = torch.tensor(weights[: len(units)], dtype=torch.float64)
        param = (matrix if len(units) > 1 or units is rows else matrix[0]).clone().requires_grad_()
        param.grad = torch.tensor(units, dtype=torch.float64).reshape(param.shape)
        steadystep.clip_gradients([param], steadystep.AGC(ratio))
        for before, after, weight in zip(units, param.grad.reshape(len(units), -1), weights, strict=False):
            bound = ratio * max(weight, 1e-3)
            assert norm([after]) == pytest.approx(min(norm([before]), bound), rel=1e-12)


@given(values=gradients, percentile=st.floats(0, 100))
def test_the_bound_of_auto_clip_is_a_percentile_of_its_window(values: list[list[float]], percentile: float) -> None:
    seen = [norm(gradient) for gradient in warm_gradients(len(values))][-7:]
    after, _ = step(case_of("AutoClip", percentile=percentile, window=8), values)
    bound = reference.percentile([*seen, norm(values)], percentile)
    assert norm(after) == pytest.approx(min(norm(values), bound), rel=1e-12)


@given(values=gradients, threshold=st.floats(0.5, 4), cap=st.floats(0.1, 10))
def test_the_bound_of_z_clip_follows_from_mean_and_deviation(
    values: list[list[float]], threshold: float, cap: float
) -> None:
    for max_norm in (None, cap):
        case = case_of("ZClip", threshold=threshold, warmup=4, max_norm=max_norm)
        peer = warm(reference.ZClip(threshold=threshold, warmup=4, max_norm=max_norm), len(values))
        mean, deviation = peer.state.mean, math.sqrt(peer.state.variance)
        size = norm(values)
        z = (size - mean) / (deviation + 1e-6)
        bound = mean + threshold**2 * deviation / z if z > threshold else size
        after = norm(clipped(case, values))
        assert after == pytest.approx(min(bound, size, max_norm or math.inf), rel=1e-9)


@given(values=gradients, ratio=st.floats(0.5, 2))
def test_the_bound_of_ada_gc_is_per_tensor(values: list[list[float]], ratio: float) -> None:
    peer = warm(reference.AdaGC(ratio=ratio, warmup=4), len(values))
    after = clipped(case_of("AdaGC", ratio=ratio, warmup=4), values)
    for tensor, before, gamma in zip(after, values, peer.state.gammas, strict=True):
        assert norm([tensor]) == pytest.approx(min(norm([before]), ratio * gamma), rel=1e-12)


OUTLIERS = next(case for case in CLIPPERS if isinstance(case.make(), steadystep.SkipOutlier))


@given(values=gradients, factor=st.floats(0.5, 20))
def test_skip_outlier_refuses_exactly_the_outliers(values: list[list[float]], factor: float) -> None:
    seen = [norm(gradient) for gradient in warm_gradients(len(values))][-8:]
    median = reference.percentile(seen, 50)
    deviation = reference.percentile([abs(x - median) for x in seen], 50)
    limit = median + 6 * max(1.4826 * deviation, 1e-3 * median)
    near = [[limit * factor, *value[1:]] if i == 0 else [0.0] * len(value) for i, value in enumerate(values)]
    for tensors in (values, near):
        after, ledger = step(OUTLIERS, tensors)
        passes = norm(tensors) <= limit
        assert (ledger["applied"], ledger["skipped_outlier"]) == (passes, not passes)
        assert [tensor.tolist() for tensor in after] == (
            tensors if passes else [[0.0] * len(value) for value in tensors]
        )


# Preserved direction, no change within the bound, idempotence.


@pytest.mark.parametrize("case", [case for case in CLIPPERS if case.keeps_direction], ids=str)
@given(values=gradients)
def test_the_direction_is_preserved(case: ClipperCase, values: list[list[float]]) -> None:
    assert_parallel(torch.cat(clipped(case, values)), [x for value in values for x in value])


NOT_PARALLEL = (steadystep.ClipValue,)


@pytest.mark.parametrize("case", [case for case in CLIPPERS if not isinstance(case.make(), NOT_PARALLEL)], ids=str)
@given(values=gradients)
def test_the_direction_of_each_tensor_is_preserved(case: ClipperCase, values: list[list[float]]) -> None:
    for value, after in zip(values, clipped(case, values), strict=True):
        assert_parallel(after, value)


def assert_parallel(after: torch.Tensor, values: Sequence[float]) -> None:
    before = torch.tensor(values, dtype=torch.float64)
    largest = before.abs().argmax()
    if before[largest] != 0:
        ratio = after[largest] / before[largest]
        assert ratio >= 0
        torch.testing.assert_close(after, before * ratio, rtol=1e-12, atol=1e-300)


def within(values: list[list[float]]) -> float:
    """Return a bound slightly above the norm of these gradients."""
    return max(norm(values), 1e-30) * (1 + 1e-9)


@pytest.mark.parametrize(
    "make",
    [
        lambda values: case_of("ClipNorm", max_norm=within(values)),
        lambda values: case_of("ClipNorm", max_norm=math.inf),
        lambda values: case_of("ClipNorm", max_norm=within(values), scope="group"),
        lambda values: case_of("ClipNorm", max_norm=within(values), scope="parameter"),
        lambda values: case_of("ClipValue", max_value=within(values)),
        lambda values: case_of("AGC", ratio=within(values) / 1e-3 * (1 + 1e-9)),
        lambda values: case_of("AutoClip", percentile=100),
        lambda values: case_of("ClipUpdate", max_rms=within(values)),
    ],
    ids=["ClipNorm", "inf", "ClipNorm group", "ClipNorm parameter", "ClipValue", "AGC", "AutoClip", "ClipUpdate"],
)
@given(values=gradients)
def test_gradients_within_the_bound_are_unchanged(
    make: Callable[[list[list[float]]], ClipperCase], values: list[list[float]]
) -> None:
    after, ledger = step(make(values), values)
    assert [t.tolist() for t in after] == values
    assert ledger["clipped"] == 0


ADAPTIVE = case_of("ZClip", warmup=4), case_of("AdaGC", warmup=4), OUTLIERS


@given(values=gradients, share=st.floats(0.01, 1))
def test_gradients_within_an_adaptive_bound_are_unchanged(values: list[list[float]], share: float) -> None:
    """The warm-up determines the bound, and the values are scaled to lie within it."""
    size = norm(values)
    mean = warm(reference.ZClip(warmup=4), len(values)).state.mean
    gammas = warm(reference.AdaGC(warmup=4), len(values)).state.gammas
    median = reference.percentile([norm(g) for g in warm_gradients(len(values))][-8:], 50)
    for case, bound in zip(ADAPTIVE, (mean, min(gammas), median), strict=True):
        small = [[x / size * share * bound if size else x for x in value] for value in values]
        after, ledger = step(case, small)
        assert [t.tolist() for t in after] == small and ledger["clipped"] == 0


@pytest.mark.parametrize("case", [case for case in CLIPPERS if case.idempotent], ids=str)
@given(values=gradients)
def test_clipping_twice_is_clipping_once(case: ClipperCase, values: list[list[float]]) -> None:
    once = clipped(case, values)
    twice = clipped(case, [tensor.tolist() for tensor in once])
    for a, b in zip(once, twice, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=0)


# The result does not depend on grouping, order or splitting into tensors: to 1e-12 in float64, 1e-6 in float32, and
# bitwise for the same tensors.


def grouped(items: Sequence[int], data: st.DataObject) -> list[list[int]]:
    """Return the items in an arbitrary order, split into groups at arbitrary places."""
    order = data.draw(st.permutations(items))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(order) - 1)))) if len(order) > 1 else []
    return [list(order[a:b]) for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@every_clipper
@settings(max_examples=40)
@given(values=moderate, data=st.data())
def test_grouping_and_order_do_not_matter(
    case: ClipperCase, dtype: torch.dtype, values: list[list[float]], data: st.DataObject
) -> None:
    clipper = case.make()
    by_group = isinstance(clipper, steadystep.ClipNorm) and clipper.scope == "group"
    groups = [list(data.draw(st.permutations(range(len(values)))))] if by_group else grouped(range(len(values)), data)
    straight, _ = step(case, values, dtype)
    other, _ = step(case, values, dtype, groups)
    again, _ = step(case, values, dtype, groups)
    for a, b, c in zip(other, straight, again, strict=True):
        torch.testing.assert_close(a, b, rtol=TOLERANCE[dtype], atol=1e-30)
        assert torch.equal(a, c)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    "name", ["ClipNorm", "SmoothClip", "AutoClip", "ZClip", "SkipOutlier", "ClipValue"]
)  # those that do not depend on which tensor an element is in
@settings(max_examples=40)
@given(values=moderate, data=st.data())
def test_splitting_into_tensors_does_not_matter(
    name: str, dtype: torch.dtype, values: list[list[float]], data: st.DataObject
) -> None:
    case = next(case for case in CLIPPERS if type(case.make()).__name__ == name)
    flat = [x for value in values for x in value]
    order = data.draw(st.permutations(range(len(flat))))
    pieces = grouped(range(len(flat)), data)[: len(values) - 1]
    rest = [i for i in order if not any(i in piece for piece in pieces)]
    cut = [*pieces, *([rest] if rest else [])]
    if len(cut) != len(values):  # the same number of tensors, so that the warm-up was the same
        return
    one, _ = step(case, values, dtype)
    other, _ = step(case, [[flat[i] for i in piece] for piece in cut], dtype)
    positions = torch.tensor([i for piece in cut for i in piece])
    torch.testing.assert_close(torch.cat(other), torch.cat(one)[positions], rtol=TOLERANCE[dtype], atol=1e-30)


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
