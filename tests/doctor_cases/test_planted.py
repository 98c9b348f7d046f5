"""Every planted failure shows its trouble in a plain loop, and its sound twin trains well."""

import warnings
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import torch

from benchmarks.doctor.planted import PLANTED
from benchmarks.doctor.planted.case import CULPRITS, LAST, Planted, learns, mean, stalls, watch
from benchmarks.doctor.run import finite, train

CHEAP = {"digits_mlp", "regression_net", "autoencoder"}
"""Programs whose steps take about 1 ms."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def rows() -> list[object]:
    cheap = [pytest.param(case, 0, id=f"{case.name}-0") for case in PLANTED if case.program in CHEAP]
    rest = [(case, seed) for seed in (0, 1, 2) for case in PLANTED if seed or case.program not in CHEAP]
    slow = [pytest.param(case, seed, id=f"{case.name}-{seed}", marks=pytest.mark.slow) for case, seed in rest]
    return [*cheap, *slow]


@pytest.mark.parametrize(("case", "seed"), rows())
def test_a_planted_failure_shows_and_its_cure_cures(case: Planted, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of a schedule whose first step a scaler skips
        sound = case.make(seed, sound=True)
        losses = list(train(sound))
        assert finite(sound, losses[-1])
        # A resumed run has learnt most of it before.
        assert mean(losses[-30:]) < 1.3 * mean(losses[:5]) if case.culprit == "optimizer-state" else learns(losses)

        seen = watch(case.make(seed))
    if case.sees == "not finite":  # it may be far off before
        run = case.make(seed)
        assert any(not finite(run, loss) for loss in train(run, 260))
    elif case.sees == "stall":
        assert seen.sees is None and stalls(seen.losses, losses)
    else:
        assert seen.sees is not None or stalls(seen.losses, losses)
    # Only the loss of an outlier itself is far off with its cure too.
    assert case.culprit == "outlier-gradient" or watch(case.make(seed, sound=True)).sees is None


def test_every_class_is_planted_in_a_development_and_in_a_held_out_program() -> None:
    assert Counter((case.culprit, case.held_out) for case in PLANTED) == Counter(
        (culprit, held_out) for culprit in CULPRITS for held_out in (False, True)
    )
    assert len({case.name for case in PLANTED}) == len(PLANTED)


@pytest.mark.parametrize("case", PLANTED, ids=lambda case: case.name)
def test_the_place_is_drawn_from_the_seed(case: Planted) -> None:
    assert case.places(3) == case.places(3)
    assert all(isinstance(place, str) and place for seed in range(20) for place in case.places(seed))
    numbered = [place for place in case.places(0) if place.startswith(("example", "batch", "step"))]
    assert not numbered or len({case.places(seed) for seed in range(20)}) > 10


@pytest.mark.parametrize("name", ["empty-sequence", "target-longer-than-input", "rare-target", "image-of-bytes"])
def test_only_the_named_example_of_the_named_batch_differs(name: str) -> None:
    case = next(case for case in PLANTED if case.name == name)
    for seed in range(3):
        example, batch = (int(place.split()[1]) for place in case.places(seed))
        faulty = case.make(seed).batches
        cured = _with_sound_data(case, seed)
        for index in range(LAST + 10):
            for one, other in zip(_tensors(faulty[index]), _tensors(cured[index]), strict=True):
                differs = [row for row in range(len(one)) if not torch.equal(one[row], other[row])]
                assert differs in ([], [example] if index == batch else [])
        assert any(
            not torch.equal(one, other)
            for one, other in zip(_tensors(faulty[batch]), _tensors(cured[batch]), strict=True)
        )


def _with_sound_data(case: Planted, seed: int) -> Any:
    """Return the batches of the program without any fault."""
    return import_module(f"benchmarks.doctor.programs.{case.program}").make(seed).batches


def _tensors(batch: object) -> list[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        return [batch]
    return list(batch.values() if isinstance(batch, dict) else batch)  # pyright: ignore[reportArgumentType]


def test_a_transient_does_not_come_back_when_the_run_starts_again() -> None:
    for case in PLANTED:
        if case.culprit == "transient":
            run = case.make(0)
            start = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
            assert watch(run, 100).sees == "spike"
            run.model.load_state_dict(start)
            run.optimizer.state.clear()
            assert watch(run, 100).sees is None
