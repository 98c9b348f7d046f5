"""Checkpoints of trials on disk: written atomically and loaded without running code."""

import io
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from steadystep.lab.errors import UserError
from steadystep.lab.system.atomic import StoreError, write_atomic

FORMAT = 3
_ZIP = b"PK\x03\x04"


class UnsafeCheckpointError(UserError):
    """A checkpoint that could run code when it is loaded, as pickles can."""


class BrokenCheckpointError(Exception):
    """A checkpoint that is damaged or belongs to another trial; the trial starts over."""


def save_checkpoint(path: Path, trial_id: str, state: dict[str, Any]) -> None:
    """Write the state atomically.

    Raises:
        StoreError: if the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "trial": trial_id, **state}, buffer)
    write_atomic(path, buffer.getvalue())


def load_checkpoint(path: Path, trial_id: str) -> dict[str, Any] | None:
    """Return the saved state, or None if there is no file. Only tensors and plain values are loaded.

    Raises:
        UnsafeCheckpointError: if the file contains other objects or is not a checkpoint.
        BrokenCheckpointError: if the file is truncated or damaged, or belongs to another trial.
        StoreError: if the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    _check_archive(path, content)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _unsafe(path) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BrokenCheckpointError(f"{path} is damaged") from error
    if not isinstance(state, dict) or (state.get("format"), state.get("trial")) != (FORMAT, trial_id):
        raise BrokenCheckpointError(f"{path} is not a checkpoint of this trial")
    return state


def folder_of_ranks(path: Path) -> Path:
    """Return the folder of the checkpoint that several processes write, beside the file that one would write.

    >>> folder_of_ranks(Path("checkpoints/ab.pt")).as_posix()
    'checkpoints/ab'
    """
    return path.with_suffix("")


def _check_archive(path: Path, content: bytes) -> None:
    """Check that the content is an intact zip archive, which is the format that torch.save writes."""
    if not content.startswith(_ZIP):
        if not content.strip(b"\0"):  # empty, or zeroed by a file system after a power cut
            raise BrokenCheckpointError(f"{path} is empty")
        raise _unsafe(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise BrokenCheckpointError(f"{path} is truncated or damaged") from error
    if damaged:
        raise BrokenCheckpointError(f"{path} is damaged at {damaged}")


def _unsafe(path: Path) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        f"{path} was not written by steadystep: it may run code when it is loaded, so it was not loaded. "
        "Delete it and run the same command again"
    )
