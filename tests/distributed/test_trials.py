"""A trial that several processes train together has the numbers of one process, and resumes from its checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import trial_ranks
from steadystep.lab.training.checkpoint_of_ranks import load_checkpoint_of_ranks
from steadystep.lab.training.ranks import ALONE
from steadystep.lab.training.trainer import Training

EXACT = [name for name in trial_ranks.NAMES if name != "noisy"]


@pytest.fixture(scope="module")
def folder(run_ranks: Callable[[str, Path], list[dict[str, str]]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the results of all ranks."""
    made = tmp_path_factory.mktemp("trials")
    run_ranks(str(trial_ranks.__file__), made)
    return made


def results(folder: Path, name: str) -> list[dict[str, Any]]:
    return [torch.load(folder / f"{rank}-{name}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", EXACT)
def test_two_ranks_end_where_one_process_ends(folder: Path, name: str) -> None:
    alone = trial_ranks.outcome(trial_ranks.train(name))
    close = 1e-5 if name.endswith("single") else 1e-9
    for rank in results(folder, name):
        for part in ("model", "measured"):
            assert alone[part].keys() == rank["whole"][part].keys()
            for key, value in alone[part].items():
                found = rank["whole"][part][key]
                torch.testing.assert_close(found, value, rtol=close, atol=close, msg=f"{part} {key}")
        assert rank["whole"]["test"] == pytest.approx(alone["test"], abs=close)


@pytest.mark.parametrize("name", EXACT)
def test_two_ranks_see_the_examples_of_one_process(folder: Path, name: str) -> None:
    alone = trial_ranks.train(name).seen
    halves = zip(*(rank["seen"] for rank in results(folder, name)), strict=True)
    assert [[*first, *second] for first, second in halves] == alone
    assert all(len(step) for rank in results(folder, name) for step in rank["seen"])


@pytest.mark.parametrize("name", trial_ranks.NAMES)
def test_all_ranks_have_the_same_numbers(folder: Path, name: str) -> None:
    first, second = (rank["whole"] for rank in results(folder, name))
    for part in ("model", "measured"):
        for key, value in first[part].items():
            assert torch.equal(value, second[part][key]), f"{part} {key}"
    assert first["test"] == second["test"]


@pytest.mark.parametrize("name", trial_ranks.NAMES)
def test_a_restored_run_ends_with_the_same_bits(folder: Path, name: str) -> None:
    for rank in results(folder, name):
        for part in ("model", "measured"):
            for key, value in rank["whole"][part].items():
                assert torch.equal(value, rank["resumed"][part][key]), f"{part} {key}"


@pytest.mark.parametrize("name", EXACT)
def test_one_process_goes_on_where_two_were_stopped(folder: Path, name: str) -> None:
    task, parts, fields = trial_ranks.parts_of(name)
    trial = trial_ranks.trial_of(task, **fields)
    state = load_checkpoint_of_ranks(folder / name, trial.id, ALONE)
    assert state is not None
    training = Training(trial, task, parts)
    training.restore(state)
    assert 0 < training.measured.steps < training.steps
    trial_ranks.take(training, training.steps - training.measured.steps)
    close = 1e-5 if name.endswith("single") else 1e-9
    for key, value in results(folder, name)[0]["whole"]["model"].items():
        torch.testing.assert_close(training.model.state_dict()[key], value, rtol=close, atol=close, msg=key)
