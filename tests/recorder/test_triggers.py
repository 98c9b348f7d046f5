"""The triggers: no noise sets them off, and what goes wrong does."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystep.recorder.loss_watch import LossWatch
from steadystep.recorder.ring import Ring
from steadystep.recorder.triggers import KINDS, LOSS, PLATEAU, RISE, SPIKE, Trigger
from steadystep.recorder.watch import StepWatcher


def triggered(losses: np.ndarray, rates: np.ndarray | None = None) -> Trigger | None:
    watch = LossWatch()
    for step, loss in enumerate(losses.tolist()):
        if rates is not None:
            watch.rate(step, float(rates[step]))
        found = watch.add(step, loss)
        if found is not None:
            return found
    return None


@st.composite
def healthy(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Losses that fall to a floor, which may be 0, under any noise, with the learning rates of usual schedules."""
    steps = draw(st.integers(50, 2000))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    start = 10.0 ** draw(st.floats(-2, 4))
    floor = start * draw(st.sampled_from([0.0, 1e-6, 0.01, 0.3, 0.8]))
    half_life = draw(st.floats(5, 300))
    warm_up = draw(st.sampled_from([0, 0, 20, 200]))
    rates = np.minimum(1.0, (1.0 + np.arange(steps)) / max(warm_up, 1))
    # A rate that drops a hundredfold in the first steps stops a run: schedules drop it after a phase of progress.
    for drop in draw(st.lists(st.integers(256, 2000), max_size=2)):
        rates[drop:] *= 0.1
    done = np.cumsum(rates) / half_life
    losses = floor + (start - floor) * 0.5**done
    kind = draw(st.sampled_from(["none", "normal", "lognormal", "student", "rare"]))
    size = draw(st.floats(0.01, 0.6))
    noise = random.standard_normal(steps)
    if kind == "normal":
        losses = losses + size * 0.3 * start * noise
    elif kind == "lognormal":
        losses = losses * np.exp(size * noise)
    elif kind == "student":
        losses = losses * (1 + 0.3 * size * np.abs(random.standard_t(3, steps)))
    elif kind == "rare":  # a hard example in some of the batches
        losses = losses + start * size * (random.random(steps) < 0.05)
    return losses, rates


@settings(max_examples=300)
@given(healthy())
def test_a_healthy_run_triggers_nothing(run: tuple[np.ndarray, np.ndarray]) -> None:
    assert triggered(*run) is None


def falling(steps: int = 400, noise: float = 0.1, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (0.3 + 2.0 * 0.5 ** (np.arange(steps) / 40)) * np.exp(noise * random.standard_normal(steps))


@pytest.mark.parametrize("seed", range(20))
def test_a_spike_that_lasts_is_found_where_it_begins(seed: int) -> None:
    losses = falling(seed=seed)
    losses[300:] += 2.0
    found = triggered(losses)
    assert found is not None
    assert (found.kind, found.step) == (SPIKE, 300)


@pytest.mark.parametrize("seed", range(20))
def test_one_bad_batch_that_leaves_no_trace_triggers_nothing(seed: int) -> None:
    losses = falling(seed=seed)
    losses[300] *= 50
    assert triggered(losses) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_that_rises_slowly_is_found(seed: int) -> None:
    losses = falling(600, seed=seed)
    losses[200:] *= 1.01 ** np.arange(400)
    found = triggered(losses)
    assert found is not None
    assert found.kind in (RISE, SPIKE)
    assert 200 <= found.step < 500


def test_a_run_that_explodes_at_once_is_found_at_once() -> None:
    found = triggered(2.0 * 3.0 ** np.arange(30))
    assert found is not None
    assert found.kind == SPIKE
    assert found.step < 8


@pytest.mark.parametrize("seed", range(20))
def test_no_progress_is_a_plateau(seed: int) -> None:
    random = np.random.default_rng(seed)
    found = triggered(2.3 + 0.02 * random.standard_normal(600))
    assert found is not None
    assert found.kind == PLATEAU


def test_a_warm_up_is_no_plateau() -> None:
    random = np.random.default_rng(0)
    rates = np.minimum(1.0, 1e-4 * 1.02 ** np.arange(600))
    assert triggered(2.3 - 1.5 * np.cumsum(rates) / rates.sum() + 0.02 * random.standard_normal(600), rates) is None


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_triggers_at_once(loss: float) -> None:
    found = StepWatcher(["w"], Ring(4, 1, 1)).loss(7, loss)
    assert found == Trigger(LOSS, 7, str(loss))
    assert LOSS in KINDS
