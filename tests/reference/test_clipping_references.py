"""Test the references of the clippers against the statistics module, torch's norms and manual computations."""

import copy
import itertools
import math
import random
import statistics
from collections.abc import Callable

import pytest
import torch

from reference.clipping import (
    AGC,
    AdaGC,
    AutoClip,
    Chain,
    ClipNorm,
    Clipper,
    ClipValue,
    Grads,
    SkipOutlier,
    SmoothClip,
    ZClip,
    norm,
    update_scale,
)
from reference.optimizers import REFERENCES
from reference.problem import make_problem

WEIGHTS = [[0.5, -1.0, 2.0, 0.1, 0.3], [0.0, 0.0, 0.0], [4.0]]
CLIPPERS: dict[str, Callable[[], Clipper]] = {
    "ClipNorm": lambda: ClipNorm(0.5),
    "ClipNorm group": lambda: ClipNorm(0.5, "group", [[0, 2], [1]]),
    "ClipNorm parameter": lambda: ClipNorm(0.5, "parameter"),
    "ClipValue": lambda: ClipValue(0.1),
    "SmoothClip": lambda: SmoothClip(0.5),
    "AGC": lambda: AGC([(5,), (3,), ()]),
    "AutoClip": AutoClip,
    "ZClip": lambda: ZClip(warmup=5),
    "AdaGC": lambda: AdaGC(warmup=5),
    "SkipOutlier": lambda: SkipOutlier(window=16, active_after=8, max_refusals=3),
    "Chain": lambda: Chain(ClipValue(0.5), ZClip(warmup=5), ClipNorm(0.1)),
}


def one(length: float) -> Grads:
    """Return a gradient with this norm, split across two tensors."""
    return [[0.6 * length], [0.0, 0.8 * length]]


def feed(clipper: Clipper, lengths: list[float]) -> list[float]:
    """Return the norms after clipping; every step must be accepted."""
    after = []
    for length in lengths:
        clipped, accepted = clipper.step(one(length))
        assert accepted
        after.append(norm(clipped))
    return after


@pytest.mark.parametrize("name", CLIPPERS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e200])
def test_a_refused_step_changes_no_statistic(name: str, bad: float) -> None:
    grads = [step for step in make_problem(missing=True)[1] if step[1] is not None]
    clean, disturbed = CLIPPERS[name](), CLIPPERS[name]()
    for k, step in enumerate(grads):
        if k % 7 == 3:
            before = copy.deepcopy(disturbed.state)
            spoiled: Grads = [*step[:1], [bad, 1.0, 1.0], *step[2:]]
            if math.isfinite(bad):
                disturbed.largest = 1e-300  # so that the square of the clipped gradient overflows, however small it is
            got, accepted = disturbed.step(spoiled, WEIGHTS)
            disturbed.largest = clean.largest
            assert not accepted and got == spoiled
            if name == "SkipOutlier" and math.isfinite(bad):
                before = disturbed.state  # its count of refusals is the only thing that a refusal changes
            assert disturbed.state == before
        if name == "SkipOutlier":
            disturbed.state = clean.state
        assert clean.step(step, WEIGHTS) == disturbed.step(step, WEIGHTS)


@pytest.mark.parametrize("name", CLIPPERS)
def test_never_amplifies_and_keeps_missing_tensors(name: str) -> None:
    clipper = CLIPPERS[name]()
    for step in make_problem()[1]:
        clipped, accepted = clipper.step(step, WEIGHTS)
        assert accepted or name == "SkipOutlier"
        for g, c in zip(step, clipped, strict=True):
            assert (g is None) == (c is None)
            if g is not None and c is not None:
                assert all(abs(y) <= abs(x) and x * y >= 0 for x, y in zip(g, c, strict=True))


def test_overflow_is_detected_in_the_clipped_gradient() -> None:
    huge: Grads = [[1e200], [0.5]]
    assert ClipNorm(1.0).step(huge) == ([[1.0], [0.5e-200]], True)
    assert ClipNorm(1e180).step(huge) == (huge, False)
    float32 = ClipNorm(1e30)
    float32.largest = 3.4028234663852886e38
    assert not float32.step([[1e22]])[1] and float32.step([[1e19]])[1]
    assert not ClipNorm(1.0).step([[1.7e308], [1.7e308]])[1]  # the norm itself is not finite


def test_norm_is_torchs() -> None:
    for step in make_problem()[1]:
        tensors = [torch.tensor(g, dtype=torch.float64) for g in step if g is not None]
        if tensors:
            assert norm(step) == pytest.approx(float(torch.nn.utils.get_total_norm(tensors)), rel=1e-14)


def test_clip_norm_scopes() -> None:
    grads: Grads = [[3.0, 4.0], None, [12.0], [0.0]]
    assert ClipNorm(6.5).step(grads)[0] == [[1.5, 2.0], None, [6.0], [0.0]]
    assert ClipNorm(1.0, "parameter").step(grads)[0] == [
        [pytest.approx(0.6), pytest.approx(0.8)],
        None,
        [1.0],
        [0.0],
    ]
    assert ClipNorm(2.5, "group", [[0, 1], [2, 3]]).step(grads)[0] == [[1.5, 2.0], None, [2.5], [0.0]]
    for bound in (13.0, 100.0, math.inf):
        assert ClipNorm(bound).step(grads)[0] == grads


def test_clip_value_and_smooth_clip() -> None:
    grads: Grads = [[3.0, -4.0], None, [0.5]]
    assert ClipValue(1.0).step(grads)[0] == [[1.0, -1.0], None, [0.5]]
    smooth, _ = SmoothClip(5.0).step([[3.0, -4.0]])
    assert smooth == [[1.5, -2.0]]
    assert norm(SmoothClip(1.0).step([[1e6]])[0]) < 1


def test_agc_units_floor_and_exclusion() -> None:
    grads: Grads = [[3.0, 4.0, 0.0, 0.001, 0.0, 0.0], [3.0, 4.0], [5.0], [5.0]]
    weights = [[1.0, 0.0, 0.0, 0.0, 2.0, 0.0], [0.0, 0.0], [100.0], [100.0]]
    clipped, _ = AGC([(2, 3), (2,), (), (1,)], exclude=[3]).step(grads, weights)
    units = torch.tensor(clipped[0]).reshape(2, 3).norm(dim=1)
    assert units.tolist() == pytest.approx([0.01 * 1, 0.001])
    assert norm([clipped[1]]) == pytest.approx(0.01 * 1e-3)  # zero-initialised: the floor
    assert clipped[2:] == [[1.0], [5.0]]
    # A (2, 2, 3) tensor has two units, each with all dimensions but the first.
    cube, _ = AGC([(2, 2, 3)]).step([[1.0] * 12], [[1.0] * 6 + [0.0] * 6])
    assert [norm([cube[0][:6]]), norm([cube[0][6:]])] == pytest.approx([0.01 * math.sqrt(6), 1e-5])  # type: ignore[index]


def test_autoclip_uses_the_percentile_of_the_raw_norms_and_the_current_one() -> None:
    rng = random.Random(1)
    lengths = [rng.lognormvariate(0, 1) for _ in range(80)]
    after = feed(AutoClip(p=10, window=50), lengths)
    for k in range(1, 80):
        history = lengths[max(0, k - 49) : k + 1]
        cut = statistics.quantiles(history, n=10, method="inclusive")[0]
        assert after[k] == pytest.approx(min(cut, lengths[k]), rel=1e-12)
    assert after[0] == pytest.approx(lengths[0])


@pytest.mark.parametrize("cap", [None, 1.0])
def test_zclip_by_hand(cap: float | None) -> None:
    rng = random.Random(2)
    lengths = [rng.uniform(0.8, 1.2) for _ in range(25)]
    clipper = ZClip(max_norm=cap)
    limit = math.inf if cap is None else cap
    assert feed(clipper, lengths) == pytest.approx([min(x, limit) for x in lengths])
    mean, variance = statistics.fmean(lengths), statistics.pvariance(lengths)
    assert clipper.state[1:] == pytest.approx((mean, variance))
    for length in (1.0, 1e3, 0.0, 1.3, 1e6, 1.0):
        z = (length - mean) / (math.sqrt(variance) + 1e-6)
        accepted = mean + 2.5**2 * math.sqrt(variance) / z if z > 2.5 else length
        assert feed(clipper, [length]) == pytest.approx([min(accepted, limit)])
        mean = 0.97 * mean + 0.03 * accepted
        variance = 0.97 * variance + 0.03 * (accepted - mean) ** 2
    assert clipper.state[1:] == pytest.approx((mean, variance))


def test_adagc_by_hand() -> None:
    clipper = AdaGC(warmup=3)
    # Tensor norms (3, 4), (0, 2), (.3, .4), clipped globally at 1: the minima over the non-zero norms are .3 and .4.
    for pair in ((3.0, 4.0), (0.0, 2.0), (0.3, 0.4)):
        clipped, _ = clipper.step([[pair[0]], [-pair[1]], [0.0], None])
        assert norm(clipped) == pytest.approx(min(1.0, math.hypot(*pair)))
    assert clipper.state.gammas == (pytest.approx(0.3), pytest.approx(0.4), None, None)
    clipped, _ = clipper.step([[6.0], [0.1], [7.0], None])
    assert clipped == [[pytest.approx(0.315)], [0.1], [7.0], None]
    expected = (0.98 * 0.3 + 0.02 * 0.315, 0.98 * 0.4 + 0.02 * 0.1, 7.0)
    assert clipper.state.gammas[:3] == pytest.approx(expected)
    for _ in range(2000):
        clipper.step([[0.0], None, [1.0], None])
    assert clipper.state.gammas[0] == 1e-8
    assert clipper.state.gammas[1] == pytest.approx(expected[1])


@pytest.mark.parametrize("then", ["accept", "raise"])
def test_skip_outlier(then: str) -> None:
    rng = random.Random(3)
    lengths = [rng.uniform(0.9, 1.1) for _ in range(200)]
    clipper = SkipOutlier(max_refusals=2, then=then)
    assert clipper.step(one(50.0))[1]  # not active before 64 accepted norms
    feed(clipper, lengths)
    median = statistics.median(lengths[-128:])
    mad = statistics.median(abs(x - median) for x in lengths[-128:])
    edge = median + 6 * 1.4826 * mad
    assert clipper.threshold() == pytest.approx(edge)
    assert not clipper.step(one(edge * 1.0001))[1]
    assert clipper.step(one(edge * 0.9999))[1]  # and the count of refusals is 0 again
    assert [clipper.step(one(9.0))[1] for _ in range(2)] == [False, False]
    if then == "accept":
        assert clipper.step(one(9.0))[1]
        assert clipper.state.refusals == 0 and clipper.state.norms[-1] == pytest.approx(9.0)
    else:
        with pytest.raises(RuntimeError, match="2 outliers"):
            clipper.step(one(9.0))


def test_skip_outlier_of_a_constant_norm_uses_the_floor() -> None:
    clipper = SkipOutlier(max_refusals=5)
    feed(clipper, [1.0] * 64)
    assert clipper.threshold() == pytest.approx(1.006)
    assert clipper.step(one(1.005))[1] and not clipper.step(one(1.02))[1]


def test_a_chain_stores_all_states_or_none() -> None:
    auto, outlier = AutoClip(), SkipOutlier(window=8, active_after=4, max_refusals=9)
    chain = Chain(auto, ClipNorm(3.0), outlier)
    for _ in range(4):
        assert chain.step(one(1.0))[1]
    before = auto.state
    clipper = Chain(ClipValue(0.5), auto)
    assert clipper.step(one(1.0))[0] == [[0.5], [0.0, 0.5]]
    assert auto.state == (*before, math.hypot(0.5, 0.5))
    auto.state, outlier_state = before, outlier.state
    auto.p = 100.0  # no clipping: the outlier reaches SkipOutlier
    assert not chain.step(one(2.0))[1]
    assert auto.state == before and outlier.state == outlier_state._replace(refusals=1)


def test_update_scale() -> None:
    assert update_scale([3.0, 4.0]) == pytest.approx(1 / math.sqrt(12.5))
    assert update_scale([0.3, 0.4]) == 1.0 and update_scale([0.0]) == 1.0
    assert update_scale([3.0, 4.0], max_rms=10.0) == 1.0


# Figures from the design notes on the theory that combine a clipper with an optimizer.


def test_adam_without_eps_does_not_depend_on_the_threshold() -> None:
    params, grads = make_problem(low=10.0, high=1e4, missing=False)
    paths = []
    for c in (1.0, 2.0**-6):
        clipped: list[Grads] = [ClipNorm(c).step(step)[0] for step in grads]
        paths.append(REFERENCES["Adam"](params, clipped, eps=0.0))
    assert paths[0] == paths[1]
    assert paths[0] != REFERENCES["Adam"](params, grads, eps=0.0)


def test_clipped_sgd_moves_at_most_lr_times_threshold() -> None:
    params, grads = make_problem(missing=False)
    clipped: list[Grads] = [ClipNorm(0.25).step(step)[0] for step in grads]
    path = [params, *REFERENCES["SGD"](params, clipped, lr=0.1)]
    for a, b in itertools.pairwise(path):
        moved: Grads = [[y - x for x, y in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]
        assert norm(moved) <= 0.1 * 0.25 * (1 + 1e-9)


def test_clipped_sgd_converges_to_the_huber_location() -> None:
    # (x - a)^2/2 with lognormal a (mean 1.649): the root of E[clip(x - a, c)], with the expectation over quantiles.
    nodes = [math.exp(statistics.NormalDist().inv_cdf((k + 0.5) / 4000)) for k in range(4000)]
    for c, location in ((0.1, 1.00), (1.0, 1.15), (100.0, 1.65)):
        x = 1.0
        clipper = ClipValue(c)
        for _ in range(300):
            clipped, _ = clipper.step([[x - a for a in nodes]])
            assert clipped[0] is not None
            x -= math.fsum(clipped[0]) / len(nodes) / min(c, 1.0)
        assert x == pytest.approx(location, abs=8e-3)


def test_agc_needs_the_weights() -> None:
    clipper = AGC([(1,)])
    with pytest.raises(ValueError, match="weights"):
        clipper.step([[1.0]])
