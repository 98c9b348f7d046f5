"""The advice on a clipping threshold, from recorded norms and from replays."""

from typing import Any

import numpy as np
import pytest
import torch

import steadystep
from diagnosis import failures
from steadystep.diagnosis.advise_clip import hill_index
from steadystep.recorder.recording import Recording, Trigger


def recorded(norms: np.ndarray, trigger: Trigger | None = None, optimizer: str = "SGD") -> Recording:
    """Return a box of one tensor with these gradient norms."""
    steps, one = np.arange(len(norms)), np.ones((len(norms), 1))
    column = norms[:, None]
    numbers = {"steps": steps, "loss": one[:, 0], "lr": one, "applied": one[:, 0], "scale": one[:, 0]}
    tensors = {"gradient": column, "largest": column, "update": one, "weight": one}
    return Recording(("weight",), **numbers, **tensors, trigger=trigger, about={"optimizer": optimizer})


def test_light_tails_get_an_insurance() -> None:
    norms = 1 + 0.1 * np.random.default_rng(0).random(1000)
    advice = steadystep.advise_clip(recorded(norms))
    assert advice.purpose == "insurance" and advice.clipped <= 0.02
    assert advice.threshold == pytest.approx(np.quantile(norms[100:], 0.99))


def test_heavy_tails_are_clipped_more() -> None:
    norms = np.random.default_rng(0).pareto(1.2, 2000) + 1
    advice = steadystep.advise_clip(recorded(norms))
    assert advice.purpose == "heavy tails" and 0.05 < advice.clipped < 0.15


def test_a_spike_is_a_reason_and_what_follows_it_is_left_out() -> None:
    norms = 1 + 0.1 * np.random.default_rng(0).random(200)
    norms[150:] = 1e6
    advice = steadystep.advise_clip(recorded(norms, Trigger("loss spike", 150)))
    assert advice.purpose == "instability" and advice.threshold is not None and advice.threshold < 1.2


@pytest.mark.parametrize(("optimizer", "words"), [("AdamW", "a constant factor cancels"), ("SGD", "drift from")])
def test_warnings(optimizer: str, words: str) -> None:
    advice = steadystep.advise_clip(recorded(np.linspace(1, 5, 300), optimizer=optimizer))
    assert any(words in warning for warning in advice.warnings)


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 30 sound steps after the warm-up, and the box has 18"):
        steadystep.advise_clip(recorded(np.ones(20)))


@pytest.mark.parametrize("alpha", [1.1, 1.8, 3.0])
def test_the_hill_index_is_that_of_pareto(alpha: float) -> None:
    norms = np.random.default_rng(0).pareto(alpha, 50_000) + 1
    assert hill_index(norms) == pytest.approx(alpha, rel=0.05)


def _recorded_run(run: Any, steps: int) -> Recording:
    box = steadystep.blackbox(run.model, run.optimizer, None, every=10)
    for batch in box.watch(run.batches[:steps]):
        box.loss(failures._step(run, batch))
    box.close()
    return box.recording()


def test_no_clipping_is_advised_if_a_replay_shows_no_difference() -> None:
    run = failures.regression()
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=1e-4)
    advice = steadystep.advise_clip(_recorded_run(run, 90), run)
    assert advice.threshold is None and advice.sentence.startswith("no clipping is needed")
    assert any(each.swap == "bias of clipping" for each in advice.evidence)


def test_the_replay_of_an_outlier_shows_that_clipping_is_needed() -> None:
    run = failures.a_rare_target()
    advice = steadystep.advise_clip(_recorded_run(run, 72), run)
    assert advice.threshold is not None and 0.5 < advice.threshold < 10
