"""A trial's state on disk: written atomically, and never unpickled."""

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
    """A checkpoint that asks to run code, as pickles can."""


class BrokenCheckpointError(Exception):
    """A checkpoint that is not whole, or not this trial's: the trial starts over."""


def save_checkpoint(path: Path, trial_id: str, state: dict[str, Any]) -> None:
    """Write the state, all of it or nothing. Raises StoreError where it cannot be written."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "trial": trial_id, **state}, buffer)
    write_atomic(path, buffer.getvalue())


def load_checkpoint(path: Path, trial_id: str) -> dict[str, Any] | None:
    """What was saved, or None where there is no file. Only tensors and plain values are ever loaded.

    Raises:
        UnsafeCheckpointError: for a pickle that holds more than that, or for a file of another kind.
        BrokenCheckpointError: for a truncated or damaged file, or another trial's.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    _refuse_foreign(path, content)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _unsafe(path) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BrokenCheckpointError(f"{path} is damaged") from error
    if not isinstance(state, dict) or (state.get("format"), state.get("trial")) != (FORMAT, trial_id):
        raise BrokenCheckpointError(f"{path} is not a checkpoint of this trial")
    return state


def _refuse_foreign(path: Path, content: bytes) -> None:
    """Everything torch.save writes is a whole zip archive, and so is every checkpoint that was not cut short."""
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
        f"{path} is not a checkpoint that steadystep wrote: it may run code when loaded, so it was not. "
        "Delete it and run the same command again"
    )
