"""The learning-rate sensitivity against values computed by hand, and what must hold for any losses."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lab_factory import make_record, make_task, make_trial
from steadystep.lab.stability.declare import sweep_for
from steadystep.lab.stability.run import SweepResults
from steadystep.lab.stability.sensitivity import sensitivities, sensitivity
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Clip

LRS = (0.01, 0.1, 1.0)
GUESS = math.log(10)


def sweep(unclipped: list[list[float]], clipped: list[list[float]]) -> SweepResults:
    """Return a sweep with these losses, by seed and learning rate; infinity stands for a run that did not finish."""
    task = make_task()
    clips = {"Adam": (None, unclipped), "Adam + norm": (Clip(kind="norm", threshold=1.0), clipped)}

    def run(loss: float, lr: float, seed: int, clip: Clip | None) -> Record:
        record = make_record(make_trial(lr=lr, seed=seed, role="tune", clip=clip), diverged=math.isinf(loss))
        return record if math.isinf(loss) else record.model_copy(update={"val_loss": loss})

    records = {
        name: [run(loss, lr, seed, clip) for seed, row in enumerate(losses) for lr, loss in zip(LRS, row, strict=True)]
        for name, (clip, losses) in clips.items()
    }
    study = sweep_for(task, optimizers=["Adam"], lrs=LRS, seeds=len(unclipped))
    return SweepResults(study, task, records, dict.fromkeys(records, 0.1))


def test_it_is_what_the_source_defines() -> None:
    # Means over seeds: 0.75, 0.5 and (1 + ln 10) / 2, as the run that diverged counts as a guess.
    found = sensitivities(sweep([[0.5, 0.4, 1.0], [1.0, 0.6, math.inf]], [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]))
    expected = (0.75 + 0.5 + (1 + GUESS) / 2) / 3 - 0.5
    assert found["Adam"].value.mean == pytest.approx(expected) and math.isnan(found["Adam"].value.low)
    assert found["Adam"].change is None
    change = found["Adam + norm"].change
    assert change is not None and change.mean == pytest.approx(-expected)
    assert make_task().loss_of_a_guess == GUESS


def test_intervals_are_over_paired_seeds() -> None:
    """Both arms get the same noise by seed, so that their difference is known exactly."""
    noise = [0.0, 0.3, 0.1, 0.5]
    losses = [[1.0 + each, 0.5 + each, 0.5 + each / 2] for each in noise]
    better = [[first - 0.3, second, third] for first, second, third in losses]
    found = sensitivities(sweep(losses, better))
    value, change = found["Adam"].value, found["Adam + norm"].change
    assert value.low < value.mean < value.high
    assert change is not None and change.low == pytest.approx(-0.1) and change.high == pytest.approx(-0.1)


@given(arrays(float, array_shapes(min_dims=2, max_dims=2, max_side=5), elements=st.floats(0, 10)), st.floats(0.1, 5))
def test_it_lies_between_0_and_what_a_guess_can_lose(losses: np.ndarray, guess: float) -> None:
    value = float(sensitivity(losses, guess))
    assert -1e-12 <= value <= guess
    assert float(sensitivity(np.full_like(losses, losses[0, 0]), guess)) == pytest.approx(0, abs=1e-12)
    worse = losses.copy()
    worse[:, 0] = math.inf
    assert float(sensitivity(np.hstack([losses, worse[:, :1]]), guess)) >= value - 1e-12  # one more rate that fails
