"""Read a box from its folder: box.json says what there is, and files of tensors hold the numbers."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from steadystep.arguments import described
from steadystep.recorder.errors import BrokenBoxError as BrokenBoxError
from steadystep.recorder.recording import Recording, Snapshot, Trigger
from steadystep.recorder.state import State
from steadystep.recorder.tensor_file import check_installed, read_plain, read_tensors
from steadystep.recorder.trees import restore
from steadystep.recorder.triggers import KINDS

FORMAT = 1
CONTENTS = "box.json"

FILE = re.compile(r"(records|batches|snapshot)-[0-9a-f]{16}\.safetensors")
"""The names of files of tensors."""

MAX_CONTENTS = 1 << 28
"""The largest box.json that is read, in bytes."""

COLUMNS = ("loss", "lr", "applied", "scale", "gradient", "largest", "update", "weight")
"""The arrays of a recording that have a row for each step, besides the numbers of the steps."""

_OF_GROUPS, _OF_TENSORS = frozenset(("lr",)), frozenset(("gradient", "largest", "update", "weight"))


def load(folder: str | Path, max_bytes: int = 2**36) -> Recording:
    """Read a box from a folder. Nothing in it is executed, and no path in it is followed.

    Args:
        folder: the folder of a box.
        max_bytes: the most that its files may take.

    Raises:
        BrokenBoxError: in one line, if there is no box, or if it is incomplete, too large, or not written by this
            package.
        ImportError: if safetensors is not installed.
    """
    folder = Path(folder)
    check_installed()
    for last in (False, False, True):
        try:
            return _read(folder, _contents(folder), max_bytes)
        except BrokenBoxError as error:
            # A box that is replaced while it is read has lost the files that its old box.json names.
            if last or "is missing" not in str(error):
                raise BrokenBoxError(f"{folder} holds no box that can be read: {error}") from None
    raise AssertionError("the last attempt returns or raises")


def _contents(folder: Path) -> dict[str, Any]:
    try:
        contents = json.loads(read_plain(folder / CONTENTS, MAX_CONTENTS))
    except BrokenBoxError:
        raise
    except (ValueError, RecursionError) as error:
        raise BrokenBoxError(f"{CONTENTS} is not whole") from error
    if not isinstance(contents, dict):
        raise BrokenBoxError(f"{CONTENTS} is not what a box has")
    if type(contents.get("format")) is not int or contents["format"] != FORMAT:
        raise BrokenBoxError(f"its format is {str(contents.get('format'))[:20]}, and this version reads {FORMAT}")
    return contents


def _read(folder: Path, contents: dict[str, Any], max_bytes: int) -> Recording:
    """Return the recording in a folder, every part of which is checked."""
    room = max_bytes

    def read(entry: Any, kind: str) -> dict[str, torch.Tensor]:
        nonlocal room
        entry = _checked(entry, dict, kind)
        name, size = _checked(entry.get("name"), str, kind), _whole(entry.get("bytes"), kind)
        match = FILE.fullmatch(name)
        if match is None or match[1] != kind:
            raise BrokenBoxError(f"the name of its file of {kind} is not one that a box has")
        room -= size
        if room < 0:
            raise BrokenBoxError(f"its files take more than {max_bytes} bytes")
        return read_tensors(folder / name, size)

    names = _checked(contents.get("names"), list, "names")
    if not all(isinstance(name, str) for name in names):
        raise BrokenBoxError("its names are not what a box has")
    columns = _columns(read(contents.get("records"), "records"), len(names))
    tensors = _in_order(read(contents.get("batch_file"), "batches"))
    batches = {}
    for entry in _checked(contents.get("batches"), list, "batches"):
        step, tree = _pair(entry, "batches")
        batches[_whole(step, "batches")] = _checked(restore(tree, tensors), dict, "batches").get("batch")
    snapshots = []
    for each in _checked(contents.get("snapshots"), list, "snapshots"):
        entry = _checked(each, dict, "snapshots")
        parts = restore(entry.get("state"), _in_order(read(entry.get("file"), "snapshot")))
        snapshots.append(Snapshot(_whole(entry.get("step"), "snapshots"), _state(parts)))
    return Recording(
        names=tuple(names),
        **columns,
        batches=batches,
        snapshots=tuple(snapshots),
        trigger=_trigger(contents.get("trigger")),
        about=_checked(restore(contents.get("about"), []), dict, "about"),
    )


def _columns(tensors: Mapping[str, torch.Tensor], names: int) -> dict[str, np.ndarray]:
    if tensors.keys() != {"steps", *COLUMNS}:
        raise BrokenBoxError("its records are not those that a box has")
    rows = tensors["steps"].shape[0] if tensors["steps"].dim() == 1 else -1
    for name, tensor in tensors.items():
        dtypes = (torch.int64,) if name == "steps" else (torch.float32, torch.float64)
        fits = tensor.dim() == (2 if name in _OF_GROUPS | _OF_TENSORS else 1) and tensor.shape[0] == rows
        wide = tensor.shape[1] == names if name in _OF_TENSORS else name not in _OF_GROUPS or tensor.shape[1] > 0
        if not (fits and tensor.dtype in dtypes and wide):
            raise BrokenBoxError(f"its record of {name} has not the shape that it must have")
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _state(parts: Any) -> State:
    kinds = {"model": dict, "optimizer": dict, "groups": tuple, "others": dict, "rng": dict}
    if not isinstance(parts, dict) or parts.keys() != kinds.keys():
        raise BrokenBoxError("a snapshot has not the parts that it must have")
    state = State(**{name: _checked(parts[name], kind, f"snapshots ({name})") for name, kind in kinds.items()})
    tensors = all(isinstance(name, str) and isinstance(each, torch.Tensor) for name, each in state.model.items())
    entries = all(type(number) is int for number in state.optimizer)
    if not (tensors and entries and all(isinstance(group, dict) for group in state.groups)):
        raise BrokenBoxError("a snapshot has not the parts that it must have")
    return state


def _trigger(entry: Any) -> Trigger | None:
    if entry is None:
        return None
    entry = _checked(entry, dict, "trigger")
    kind, detail = entry.get("kind"), _checked(entry.get("detail"), str, "trigger")
    if kind not in KINDS:
        raise BrokenBoxError("its trigger is not of a kind that a box has")
    return Trigger(kind, _whole(entry.get("step"), "trigger"), detail)


def _checked(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise BrokenBoxError(f"its {what} should be a {kind.__name__}, and is {described(value)}")
    return value


def _whole(value: Any, what: str) -> int:
    if type(value) is not int or value < 0:
        raise BrokenBoxError(f"a number of its {what} is not a whole number from 0 up")
    return value


def _pair(entry: Any, what: str) -> list[Any]:
    if not isinstance(entry, list) or len(entry) != 2:
        raise BrokenBoxError(f"its {what} are not what a box has")
    return entry


def _in_order(tensors: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    if tensors.keys() != set(map(str, range(len(tensors)))):
        raise BrokenBoxError("its tensors are not numbered")
    return [tensors[str(number)] for number in range(len(tensors))]
