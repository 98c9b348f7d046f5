"""The folder of a box: it comes back as it was, is whole at any moment, and a hostile one is refused in one line."""

import collections
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import steadystep
from child_processes import child
from steadystep.recorder.errors import BrokenBoxError
from steadystep.recorder.folder import load
from steadystep.recorder.recording import Recording
from steadystep.recorder.state import put_back
from steadystep.recorder.trees import Unwritable, flatten, restore
from steadystep.recorder.triggers import Trigger

Pair = collections.namedtuple("Pair", "inputs targets")


def boxed_run(folder: Path | None, steps: int = 12, **options: Any) -> tuple[Any, list[Any]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    optimizer = steadystep.AdamW(model.named_parameters(), lr=1e-2, clip=1.0)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4, 8])
    box = steadystep.blackbox(model, optimizer, folder, scheduler=scheduler, **{"every": 4, **options})
    batches = [Pair(torch.randn(6, 5), torch.randint(0, 2, (6,))) for _ in range(steps)]
    for batch in box.watch(batches):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch.inputs), batch.targets)
        loss.backward()
        optimizer.step()
        scheduler.step()
        box.loss(loss)
    return box, batches


def same(left: Any, right: Any) -> bool:
    """Return whether two nested values are equal to the bit."""
    if isinstance(left, torch.Tensor):
        plain = torch.view_as_real if left.is_complex() else torch.clone
        pair = [plain(each).reshape(-1).contiguous().view(torch.uint8) for each in (left, right)]
        return left.dtype == right.dtype and left.shape == right.shape and torch.equal(*pair)
    if isinstance(left, np.ndarray | np.generic):
        return type(left) is type(right) and left.dtype == right.dtype and left.tobytes() == right.tobytes()
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and (left == right or left != left)


def test_a_box_comes_back_as_it_was(tmp_path: Path) -> None:
    box, _ = boxed_run(tmp_path / "box")
    box.save()
    before, after = box.recording(), load(tmp_path / "box")
    for name in ("steps", "loss", "lr", "applied", "scale", "gradient", "largest", "update", "weight", "total"):
        assert same(getattr(before, name), getattr(after, name)), name
    assert (before.names, before.trigger) == (after.names, after.trigger)
    assert same(dict(before.batches), dict(after.batches))
    assert after.batches[11].inputs.shape == (6, 5)
    assert [one.step for one in before.snapshots] == [one.step for one in after.snapshots]
    for mine, theirs in zip(before.snapshots, after.snapshots, strict=True):
        assert same(vars(mine.state), vars(theirs.state))
    assert after.about["optimizer"] == "AdamW"


def test_a_run_goes_on_from_a_box_that_was_read_as_it_did(tmp_path: Path) -> None:
    box, _ = boxed_run(tmp_path)
    box.save()
    recording = load(tmp_path)
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    optimizer = steadystep.AdamW(model.named_parameters(), lr=1.0, clip=1.0)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4, 8])
    snapshot = recording.snapshots[0]
    put_back(snapshot.state, model, optimizer, {"scheduler": scheduler})
    for step in range(snapshot.step, 12):
        batch = recording.batches[step]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch.inputs), batch.targets)
        loss.backward()
        optimizer.step()
        scheduler.step()
        assert loss.item() == recording.loss[step]


def test_saving_again_replaces_the_box_and_leaves_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_text("mine")
    box, _ = boxed_run(tmp_path)
    box.save()
    first = {path.name for path in tmp_path.iterdir()}
    box.save()
    second = {path.name for path in tmp_path.iterdir()}
    assert first & second == {"mine.safetensors", "box.json"}
    assert len(first) == len(second)


def test_a_trigger_writes_the_box_at_once_and_again_when_it_is_full(tmp_path: Path) -> None:
    folder = tmp_path / "box"
    torch.manual_seed(0)
    model = nn.Linear(5, 2)
    optimizer = steadystep.AdamW(model.named_parameters(), lr=1e-2)
    box = steadystep.blackbox(model, optimizer, folder, batches=3)
    ends = []
    for number in range(20):
        x = torch.randn(6, 5) / (0.0 if number == 10 else 1.0)
        box.batch(x)
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        box.loss(loss)
        ends.append(int(load(folder).steps[-1]) if folder.exists() else None)
    assert ends == [None] * 10 + [10, 10, 10] + [13] * 7
    assert list(load(folder).batches) == list(range(7, 14))


def test_a_box_without_a_folder_cannot_be_saved() -> None:
    box, _ = boxed_run(None)
    with pytest.raises(ValueError, match="this box has no folder"):
        box.save()


def test_what_does_not_fit_is_left_out_and_named(tmp_path: Path) -> None:
    box, _ = boxed_run(tmp_path, max_bytes=6000)
    box.save()
    recording = load(tmp_path)
    total = sum(path.stat().st_size for path in tmp_path.glob("snapshot-*")) + sum(
        batch.inputs.nbytes + batch.targets.nbytes for batch in recording.batches.values()
    )
    assert total < 9000
    assert any("max_bytes=6000" in text for text in recording.about["left_out"])
    assert len(recording.steps) == 12


def test_a_batch_that_cannot_be_written_is_left_out_and_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    box = steadystep.blackbox(model, torch.optim.SGD(model.parameters()), tmp_path)
    box.batch({"image": object()})
    box.save()
    recording = load(tmp_path)
    assert recording.batches == {}
    assert "an object of the class object cannot be written" in recording.about["left_out"][0]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.binary()
    | st.sampled_from([np.float32(1.5), np.int64(7), np.bool_(True)])
)
TENSORS = st.sampled_from([
    torch.arange(6.0).view(2, 3).t(),
    torch.zeros(0, 3),
    torch.tensor(7),
    torch.tensor([True, False]),
    torch.tensor([1 + 2j]),
    torch.ones(3, dtype=torch.bfloat16),
    np.arange(6, dtype=">i4").reshape(2, 3),
    np.zeros((0, 2)),
    np.array([1 + 2j]),
    np.array(3.0),
])  # fmt: skip
TREES = st.recursive(
    SCALARS | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner).map(lambda pair: Pair(*pair))
    ),
    max_leaves=12,
)


@given(TREES)
def test_every_value_comes_back(value: Any) -> None:
    tensors: list[torch.Tensor] = []
    tree = json.loads(json.dumps(flatten(value, tensors)))
    found = restore(tree, tensors)
    little = _little_endian(value)
    assert same(little, found)


def _little_endian(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return np.array(value, value.dtype.newbyteorder("<"))
    if isinstance(value, dict):
        return {key: _little_endian(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_little_endian, value))
    if isinstance(value, list | tuple):
        return type(value)(map(_little_endian, value))
    return value


def test_a_value_that_is_too_deep_is_refused() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    with pytest.raises(Unwritable, match="too deep"):
        flatten(deep, [])
    node: Any = 1
    for _ in range(100):
        node = {"list": [node]}
    with pytest.raises(BrokenBoxError, match="too deep"):
        restore(node, [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([
                "tensor", "array", "dtype", "shape", "list", "tuple", "dict", "counter", "namedtuple", "fields",
                "items", "int", "float", "complex", "bytes", "number", "odd",
            ]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=300)
@given(JSON)
def test_any_other_json_is_refused_or_read_but_never_fails_otherwise(tree: Any) -> None:
    try:
        restore(tree, [torch.zeros(8, dtype=torch.uint8)])
    except BrokenBoxError as error:
        assert "\n" not in str(error)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "box"
    box, _ = boxed_run(folder)
    box.save()
    return folder


def refused(folder: Path, **options: Any) -> str:
    with pytest.raises(BrokenBoxError) as caught:
        load(folder, **options)
    message = str(caught.value)
    assert message.startswith(f"{folder} holds no box that can be read: ")
    assert "\n" not in message
    return message


def contents(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "box.json").read_text())


def changed(good: Path, folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    shutil.copytree(good, folder)
    data = contents(folder)
    change(data)
    (folder / "box.json").write_text(json.dumps(data))
    return folder


def test_a_box_truncated_anywhere_is_refused(good: Path, tmp_path: Path) -> None:
    for name in sorted(path.name for path in good.iterdir()):
        size = (good / name).stat().st_size
        for length in sorted({0, 1, 7, 8, 9, 100, size // 2, size - 1}):
            folder = tmp_path / f"{name}-{length}"
            shutil.copytree(good, folder)
            with (folder / name).open("r+b") as file:
                file.truncate(length)
            refused(folder)


def test_a_file_of_the_right_size_with_other_bytes_is_refused(good: Path, tmp_path: Path) -> None:
    for place, path in enumerate(sorted(good.glob("*.safetensors"))):
        folder = tmp_path / str(place)
        shutil.copytree(good, folder)
        (folder / path.name).write_bytes(b"\xff" * path.stat().st_size)
        assert "is not a whole file of tensors" in refused(folder)


def test_a_missing_folder_or_file_is_said(good: Path, tmp_path: Path) -> None:
    assert "box.json is missing" in refused(tmp_path / "nowhere")
    for place, path in enumerate(sorted(good.glob("*.safetensors"))):
        folder = tmp_path / str(place)
        shutil.copytree(good, folder)
        (folder / path.name).unlink()
        assert f"{path.name} is missing" in refused(folder)


WRONG: dict[str, Any] = {
    "null": None, "text": "x", "number": 3, "list": [], "dict": {}, "nested": [[[]]], "true": True, "negative": -1,
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_every_part_of_another_type_is_refused(good: Path, tmp_path: Path, kind: str) -> None:
    allowed = {("trigger", "null"), ("snapshots", "list"), ("batches", "list")}
    for key in contents(good):
        folder = changed(good, tmp_path / key, lambda data, key=key: data.update({key: WRONG[kind]}))
        if (key, kind) not in allowed:
            refused(folder)


@pytest.mark.parametrize(
    "name",
    ["../box.json", "/etc/passwd", "..", "", "records-0000000000000000.safetensors/../x", "box.json", "a\nb", "CON"],
)
def test_no_path_in_a_box_is_followed(good: Path, tmp_path: Path, name: str) -> None:
    folder = changed(good, tmp_path / "box", lambda data: data["records"].update(name=name))
    assert "the name of its file of records is not one that a box has" in refused(folder)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "box.json").mkdir()
    with pytest.raises(BrokenBoxError, match=r"box\.json is not a plain file"):
        load(tmp_path)


def test_no_link_is_followed(good: Path, tmp_path: Path) -> None:
    for place, name in enumerate(sorted(path.name for path in good.iterdir())):
        folder = tmp_path / str(place)
        shutil.copytree(good, folder)
        (folder / name).unlink()
        (folder / name).symlink_to(good / name)
        assert f"{name} is not a plain file" in refused(folder)


def test_a_huge_size_is_refused_before_memory_is_allocated(good: Path, tmp_path: Path) -> None:
    huge = changed(good, tmp_path / "declared", lambda data: data["records"].update(bytes=2**60))
    assert "its files take more than" in refused(huge)
    assert "its files take more than 100 bytes" in refused(good, max_bytes=100)
    folder = tmp_path / "header"
    shutil.copytree(good, folder)
    name = contents(folder)["records"]["name"]
    header = json.dumps({"steps": {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}}).encode()
    data = len(header).to_bytes(8, "little") + header
    size = (folder / name).stat().st_size
    (folder / name).write_bytes(data + b"\0" * (size - len(data)))
    assert "is not a whole file of tensors" in refused(folder)
    sparse = changed(good, tmp_path / "sparse", lambda data: data["records"].update(bytes=2**30))
    os.truncate(sparse / name, 2**30)
    refused(sparse)


@settings(max_examples=60)
@given(st.randoms(use_true_random=False))
def test_a_box_with_one_changed_value_is_refused_or_read_but_never_fails_otherwise(random: random.Random) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        good = _cached_box()
        folder = Path(scratch) / "box"
        shutil.copytree(good, folder)
        data = contents(folder)
        parent, key = _somewhere(data, random)
        parent[key] = random.choice(list(WRONG.values()))
        (folder / "box.json").write_text(json.dumps(data))
        try:
            assert isinstance(load(folder), Recording)
        except BrokenBoxError as error:
            assert "\n" not in str(error)


_BOXES: list[Path] = []


def _cached_box() -> Path:
    import tempfile

    if not _BOXES:
        _BOXES.append(Path(tempfile.mkdtemp()) / "box")
        boxed_run(_BOXES[0])[0].save()
    return _BOXES[0]


def _somewhere(value: Any, random: random.Random) -> tuple[Any, Any]:
    """Return a random place within nested JSON, as a container and a key."""
    while True:
        key = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
        inner = value[key]
        if not (isinstance(inner, dict | list) and inner) or random.random() < 0.15:
            return value, key
        value = inner


def test_a_full_disk_leaves_the_old_box_and_the_run_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs permission to mount a small tmpfs")
    try:
        box, _ = boxed_run(folder / "box")
        box.save()
        before = load(folder / "box")
        (folder / "rest").write_bytes(b"x" * (shutil.disk_usage(folder).free - 8192))
        with pytest.raises(OSError):
            box.save()
        after = load(folder / "box")
        assert same(before.loss, after.loss)
        box._judge(Trigger("loss not finite", 11), 11)
        assert "the black box could not be written" in caplog.text
        assert len(load(folder / "box").steps) == 12
    finally:
        subprocess.run(["umount", str(folder)], check=True)


KILLED = """
import sys, torch, steadystep
from pathlib import Path
model = torch.nn.Linear(200, 200)
optimizer = torch.optim.Adam(model.parameters())
box = steadystep.blackbox(model, optimizer, Path(sys.argv[1]), every=1)
number = 0
while True:
    number += 1
    box.batch(torch.full((4, 200), float(number)))
    loss = model(box.recording().batches[number - 1]).square().mean() * 0.0 + number
    loss.backward()
    optimizer.step()
    box.loss(loss)
    box.save()
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_the_last_complete_box(tmp_path: Path) -> None:
    folder = tmp_path / "box"
    random_ = random.Random(0)
    for _ in range(8):
        with child([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE) as process:
            complete = 0
            for _ in range(random_.randrange(1, 6)):
                complete = int(process.stdout.readline())
            time.sleep(random_.random() * 0.05)
            os.killpg(process.pid, signal.SIGKILL)
            complete = max([complete, *map(int, process.stdout.read().split())])
        recording = load(folder)
        assert len(recording.steps) in (complete, complete + 1)  # its last save may have been complete
        assert recording.loss[-1] == len(recording.steps)
        assert torch.equal(recording.batches[complete - 1], torch.full((4, 200), float(complete)))
    files = [path for path in folder.iterdir() if path.suffix == ".safetensors"]
    assert len(files) < 4 * 14, "what killed processes have left behind is deleted by the next one"
    box, _ = boxed_run(folder)
    box.save()
    left = {re.sub("-.*", "", path.name) for path in folder.iterdir()}
    assert left == {"box.json", "records", "batches", "snapshot"}
    assert len(list(folder.iterdir())) == 3 + len(box.recording().snapshots)


def test_without_safetensors_one_sentence_names_the_extra(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['safetensors'] = None; import torch, steadystep; m = torch.nn.Linear(1, 1); "
        "o = torch.optim.SGD(m.parameters()); steadystep.blackbox(m, o, None); steadystep.blackbox(m, o, sys.argv[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "box")], capture_output=True, text=True, check=False
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last == "ImportError: a black box on disk needs safetensors: pip install 'steadystep[doctor]'"
