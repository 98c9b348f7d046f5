"""A checkpoint of several processes comes back whole, or not at all, and runs no code when it is read."""

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from steadystep.lab.system.atomic import StoreError
from steadystep.lab.training.checkpoint import BrokenCheckpointError
from steadystep.lab.training.checkpoint_of_ranks import LATEST, load_checkpoint_of_ranks, save_checkpoint_of_ranks
from steadystep.lab.training.ranks import ALONE
from steadystep.recorder.trees import flatten, restore

TRIAL = "0123456789abcdef"
STATE = {
    "model": {
        "weight": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
        "count": torch.tensor(7),
    },
    "optimizer": {"state": {0: {"exp_avg": torch.randn(5).bfloat16()}}, "param_groups": [{"betas": (0.9, 0.99)}]},
    "measured": {"loss": torch.empty(0, dtype=torch.float64)},
    "elapsed": 1.5,
    "own": {"cpu": torch.get_rng_state()},
}


@pytest.fixture(autouse=True)
def group(tmp_path: Path) -> Iterator[None]:
    """Join a group of one process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint"
    save_checkpoint_of_ranks(path, TRIAL, STATE, ALONE)
    return path


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype and torch.equal(found, expected)
        assert not expected.numel() or found.stride() == expected.stride()
    else:
        assert found == expected and type(found) is type(expected)


def test_a_state_comes_back_with_its_types_and_layouts(saved: Path) -> None:
    assert_same(load_checkpoint_of_ranks(saved, TRIAL, ALONE), STATE)


def test_only_the_last_checkpoint_is_kept(saved: Path) -> None:
    save_checkpoint_of_ranks(saved, TRIAL, {**STATE, "elapsed": 2.0}, ALONE)
    assert len([*saved.iterdir()]) == 2
    found = load_checkpoint_of_ranks(saved, TRIAL, ALONE)
    assert found is not None and found["elapsed"] == 2.0


def test_a_checkpoint_that_was_being_written_does_not_count(saved: Path) -> None:
    [folder] = [path for path in saved.iterdir() if path.is_dir()]
    shutil.copytree(folder, saved / "unfinished")
    next((saved / "unfinished").iterdir()).write_bytes(b"half")
    assert_same(load_checkpoint_of_ranks(saved, TRIAL, ALONE), STATE)
    assert load_checkpoint_of_ranks(saved.with_name("nothing"), TRIAL, ALONE) is None


def _change(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def _tensors(path: Path) -> Path:
    return next(file for folder in path.iterdir() if folder.is_dir() for file in folder.iterdir())


def _edit(path: Path, **fields: Any) -> None:
    latest = json.loads((path / LATEST).read_text())
    (path / LATEST).write_text(json.dumps({**latest, **fields}))


FAULTS: dict[str, Callable[[Path], Any]] = {
    "a flipped bit": lambda path: _change(_tensors(path), lambda content: content[:-9] + b"\1" + content[-8:]),
    "a short file": lambda path: _change(_tensors(path), lambda content: content[:-1]),
    "a missing file": lambda path: _tensors(path).unlink(),
    "a file too many": lambda path: shutil.copy(_tensors(path), _tensors(path).with_name("more.safetensors")),
    "half of the JSON": lambda path: _change(path / LATEST, lambda content: content[: len(content) // 2]),
    "no JSON": lambda path: (path / LATEST).write_bytes(pickle.dumps(STATE)),
    "a list": lambda path: (path / LATEST).write_text("[]"),
    "another trial": lambda path: _edit(path, trial="f" * 16),
    "another format": lambda path: _edit(path, format=2),
    "another folder": lambda path: _edit(path, folder="../checkpoint"),
    "no folder": lambda path: _edit(path, folder=None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_checkpoint_is_refused(saved: Path, fault: str) -> None:
    FAULTS[fault](saved)
    with pytest.raises(BrokenCheckpointError, match="is damaged, or not a checkpoint of this trial"):
        load_checkpoint_of_ranks(saved, TRIAL, ALONE)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"^cannot write .*$") as error:
        save_checkpoint_of_ranks(tmp_path / "file" / "checkpoint", TRIAL, STATE, ALONE)
    assert "\n" not in str(error.value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.integers() | st.text(), inner),
)


@given(state=PLAIN)
def test_plain_values_come_back_from_json(state: Any) -> None:
    tensors: list[torch.Tensor] = []
    assert restore(json.loads(json.dumps(flatten(state, tensors))), tensors) == state
