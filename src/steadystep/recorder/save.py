"""Write a box to its folder.

A box is replaced as a whole, because box.json names the files that belong to it and is itself replaced atomically: the
new files have names of their own, and the old ones are deleted last. Whoever reads, at any moment and after any crash,
finds the old box or the new one.
"""

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from steadystep.recorder.folder import COLUMNS, CONTENTS, FILE, FORMAT
from steadystep.recorder.recording import Recording
from steadystep.recorder.state import State
from steadystep.recorder.tensor_file import write_tensors
from steadystep.recorder.trees import Unwritable, flatten

_TEMPORARY = re.compile(r"\.box\.json\.[0-9a-f]{16}")


def save(recording: Recording, folder: Path, max_bytes: int = 2**31) -> None:
    """Write a box to a folder, in place of the box that is there.

    Args:
        recording: what is written.
        folder: the folder, which is created if need be. Files in it that belong to no box are left alone.
        max_bytes: the most that batches and snapshots may take. The older snapshots are left out first, then the older
            batches; `about` says so.

    Raises:
        OSError: if the folder cannot be written; the box that was there stays as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        contents = _write_files(recording, folder, max_bytes, written)
        _replace(folder, json.dumps(contents))
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    kept = {path.name for path in written}
    for path in list(folder.iterdir()):
        if path.name not in kept and (FILE.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name)):
            path.unlink(missing_ok=True)


def _write_files(recording: Recording, folder: Path, max_bytes: int, written: list[Path]) -> dict[str, Any]:
    """Write the files of tensors, note their paths in `written`, and return what box.json has to say."""
    left_out: list[str] = []
    room = max_bytes

    def write(kind: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        path = folder / f"{kind}-{secrets.token_hex(8)}.safetensors"
        written.append(path)
        return {"name": path.name, "bytes": write_tensors(path, tensors)}

    def fit(value: Any, tensors: list[torch.Tensor], what: str) -> Any:
        """Return a value as JSON if there is room for its tensors, or None."""
        nonlocal room
        start = len(tensors)
        try:
            tree, problem = flatten(value, tensors), ""
        except Unwritable as error:
            tree, problem = None, f"{what}: {error}"
        size = sum(tensor.nbytes for tensor in tensors[start:])
        if size > room:
            problem = f"{what}: {size} bytes, and of max_bytes={max_bytes} there are {room} left"
        if problem:
            del tensors[start:]
            left_out.append(problem)
            return None
        room -= size
        return tree

    numbers = {name: torch.from_numpy(np.ascontiguousarray(getattr(recording, name))) for name in COLUMNS}
    records = write("records", {"steps": torch.from_numpy(np.asarray(recording.steps, np.int64)), **numbers})
    snapshots: list[dict[str, Any]] = []
    for snapshot in reversed(recording.snapshots):
        found: list[torch.Tensor] = []
        tree = fit(_parts_of(snapshot.state), found, f"the snapshot of step {snapshot.step}")
        if tree is not None:
            entry = {"step": snapshot.step, "state": tree, "file": write("snapshot", _numbered(found))}
            snapshots.insert(0, entry)
    tensors: list[torch.Tensor] = []
    batches: list[list[Any]] = []
    for step, batch in reversed(list(recording.batches.items())):
        tree = fit({"batch": batch}, tensors, f"the batch of step {step}")
        if tree is not None:
            batches.insert(0, [step, tree])
    about = {**recording.about, **({"left_out": tuple(left_out)} if left_out else {})}
    return {
        "format": FORMAT,
        "names": list(recording.names),
        "records": records,
        "batches": batches,
        "batch_file": write("batches", _numbered(tensors)),
        "snapshots": snapshots,
        "trigger": None if recording.trigger is None else vars(recording.trigger),
        "about": flatten(_printable(about), []),
    }


def _numbered(tensors: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {str(number): tensor for number, tensor in enumerate(tensors)}


def _parts_of(state: State) -> dict[str, Any]:
    return {part.name: getattr(state, part.name) for part in fields(state)}


def _printable(value: Any) -> Any:
    """Return a value whose parts are plain: of anything else, its text."""
    if isinstance(value, Mapping):
        return {str(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_printable, value)) if type(value) in (list, tuple) else tuple(map(_printable, value))
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _replace(folder: Path, text: str) -> None:
    """Replace box.json atomically, and flush the folder to disk, so that its entries survive a power cut."""
    temporary = folder / f".{CONTENTS}.{secrets.token_hex(8)}"
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _sync(folder)  # the files that box.json names come first
        temporary.replace(folder / CONTENTS)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(folder)


def _sync(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
