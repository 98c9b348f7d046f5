"""The healthy runs learn, each in its ordinary way."""

import random
import warnings
from collections import Counter
from collections.abc import Iterator

import pytest
import torch

from benchmarks.doctor.healthy import COUNT, VARIETIES, healthy
from benchmarks.doctor.planted.case import learns, watch
from benchmarks.doctor.programs import digits_mlp
from benchmarks.doctor.run import finite, train

SAMPLE = (0, 8, 12, 15, 19, 31)
"""Runs with cheap steps, each of another variety."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def rows() -> list[object]:
    slow = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(COUNT) if seed not in SAMPLE]
    return [*SAMPLE, *slow]


@pytest.mark.parametrize("seed", rows())
def test_a_healthy_run_learns(seed: int) -> None:
    chosen = healthy(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of a schedule whose first step a scaler skips
        run = chosen.make()
        if chosen.name == "hard batch":
            losses = list(train(run))
        else:
            seen = watch(run)
            assert seen.sees is None
            losses = seen.losses
    assert finite(run, losses[-1]) and learns(losses)


def test_every_variety_has_its_share() -> None:
    counts = Counter(healthy(seed).name for seed in range(COUNT))
    assert set(counts) == {variety.name for variety in VARIETIES}
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_seed_makes_the_same_run_again() -> None:
    first, second = list(train(healthy(0).make(), 20)), list(train(healthy(0).make(), 20))
    assert first == second


def test_a_scale_that_calibrates_itself_skips_the_first_steps() -> None:
    variety = next(variety for variety in VARIETIES if variety.name == "calibrated scale")
    run = variety.make(digits_mlp, 0, random.Random(0))
    started = run.scaler.get_scale()
    before = [parameter.detach().clone() for parameter in run.model.parameters()]
    next(train(run, 1))
    assert run.scaler.get_scale() < started
    assert all(torch.equal(one, other) for one, other in zip(before, run.model.parameters(), strict=True))
