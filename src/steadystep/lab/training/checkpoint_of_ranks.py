"""Checkpoints that several processes write together with torch.distributed.checkpoint, as files of tensors and JSON."""

import json
import shutil
import uuid
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from steadystep.lab.system.atomic import StoreError, write_atomic
from steadystep.lab.system.json_text import read_json
from steadystep.lab.training.checkpoint import BrokenCheckpointError
from steadystep.lab.training.ranks import Ranks
from steadystep.recorder.trees import flatten, restore

FORMAT = 1
LATEST = "latest.json"
"""The file that names the folder of the last complete checkpoint, and the sums of its files."""


def save_checkpoint_of_ranks(path: Path, trial_id: str, state: dict[str, Any], ranks: Ranks) -> None:
    """Write the state into the folder `path`; all processes call this function.

    A checkpoint is complete once `LATEST` names it, which rank 0 replaces atomically. Each process writes the tensors
    under ``own`` and its share of the others, which are the same in all processes.

    Raises:
        StoreError: if a process cannot write its files; all processes raise it.
    """
    state = dict(state)
    own = {f"rank{ranks.rank}.{name}": value.cpu() for name, value in state.pop("own").items()}
    tensors: list[torch.Tensor] = []
    tree = flatten(state, tensors)
    flat = {_name(place): tensor.cpu().reshape(-1) for place, tensor in enumerate(tensors) if tensor.numel()}
    layouts = [(str(t.dtype).removeprefix("torch."), list(t.shape), list(t.stride())) for t in tensors]
    name = ranks.same(uuid.uuid4().hex)
    folder = path / name
    try:
        save({**flat, **own}, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    except CheckpointException as error:
        raise StoreError(f"cannot write {folder}: {_reason(error)}") from error
    sums: list[dict[str, int]] = [{}] * ranks.size
    dist.all_gather_object(sums, {file.name: _checksum(file) for file in _files_of(folder, ranks)})
    if ranks.rank == 0:
        files = {file: checksum for part in sums for file, checksum in part.items()}
        latest = {"format": FORMAT, "trial": trial_id, "folder": name, "files": files}
        write_atomic(path / LATEST, json.dumps({**latest, "state": tree, "layouts": layouts}))
        for other in path.iterdir():
            if other.is_dir() and other.name != name:
                shutil.rmtree(other, ignore_errors=True)
    ranks.same("")  # nobody goes on before the checkpoint is complete


def load_checkpoint_of_ranks(path: Path, trial_id: str, ranks: Ranks) -> dict[str, Any] | None:
    """Return the saved state, or None if there is none. All processes call this function; nothing is unpickled.

    Raises:
        BrokenCheckpointError: if it is damaged or belongs to another trial; all processes raise it.
    """
    latest_file = path / LATEST
    found = latest_file.read_bytes() if ranks.rank == 0 and latest_file.exists() else b""
    text = ranks.same(found.decode(errors="replace"))
    if not text:
        return None
    latest = _intact(path, text, trial_id)
    if any(ranks.any([latest is None])) or latest is None:
        raise BrokenCheckpointError(f"{path} is damaged, or not a checkpoint of this trial")
    reader = HuggingFaceStorageReader(str(path / latest["folder"]))
    known = reader.read_metadata().state_dict_metadata
    prefix = f"rank{ranks.rank}."
    others = [name for name in known if name.startswith("rank") and not name.startswith(prefix)]
    tensors = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)  # pyright: ignore[reportAttributeAccessIssue]
        for name, entry in known.items()
        if name not in others
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process resumes what several have left
        load(tensors, storage_reader=reader, no_dist=ranks.alone)
    own = {name.removeprefix(prefix): tensors.pop(name) for name in [*tensors] if name.startswith(prefix)}
    whole = [_laid_out(tensors.get(_name(place)), *layout) for place, layout in enumerate(latest["layouts"])]
    return {**restore(latest["state"], whole), "own": own}


def _intact(path: Path, text: str, trial_id: str) -> dict[str, Any] | None:
    """Return the content of `LATEST`, or None if it is not that of an intact checkpoint of this trial."""
    try:
        latest = read_json(text)
        folder = path / latest["folder"]
        if (latest["format"], latest["trial"]) != (FORMAT, trial_id) or folder.parent != path:
            return None
        sums = {file.name: _checksum(file) for file in folder.iterdir()}
        return latest if sums == latest["files"] else None
    except (ValueError, KeyError, TypeError, OSError):
        return None


def _name(place: int) -> str:
    return f"tensor{place}"


def _laid_out(flat: torch.Tensor | None, dtype: str, shape: list[int], stride: list[int]) -> torch.Tensor:
    """Return a tensor with the memory layout that it had; one without elements is not stored."""
    laid_out = torch.empty_strided(shape, stride, dtype=getattr(torch, dtype))
    return laid_out if flat is None else laid_out.copy_(flat.view(shape))


def _files_of(folder: Path, ranks: Ranks) -> Iterator[Path]:
    """Return the files that this process has written: the writer numbers them from 1."""
    return folder.glob(f"shard-{ranks.rank + 1:05d}-*")


def _checksum(file: Path) -> int:
    checksum = 0
    with file.open("rb") as content:
        while part := content.read(1 << 20):
            checksum = zlib.crc32(part, checksum)
    return checksum


def _reason(error: CheckpointException) -> str:
    """Return the first line of the first process's error."""
    first, _ = next(iter(error.failures.values()))
    return (str(first).splitlines() or [type(first).__name__])[0]
