"""Atomic file writes: a file is complete or does not exist."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steadystep.lab.errors import UserError
from steadystep.lab.system.paths import folder_problem, path_problem


class StoreError(UserError):
    """A file or folder cannot be written: no permission, no space, or no such path."""


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file atomically: any reader, at any time and after any crash, sees the complete content or none of it.

    Writes a uniquely named file in the same folder, flushes it to disk and renames it to `path`. Text is encoded as
    UTF-8. On failure `path` is unchanged and the temporary file is deleted.

    Raises:
        StoreError: if the folder cannot be written or the disk is full; the message is one line.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_atomic(folder / "a.txt", "whole")
    >>> [path.name for path in folder.iterdir()]
    ['a.txt']
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = path.parent / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    with store_errors(path):
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Convert an OSError within the block into a StoreError that names the path."""
    try:
        yield
    except OSError as error:
        folder = isinstance(error, FileExistsError)  # raised for a folder only: a file is replaced
        problem = (folder_problem(path) if folder else None) or path_problem(path, error)
        raise StoreError(f"cannot write {path}: {problem}") from error


def check_folder(folder: Path) -> None:
    """Raise an error if files cannot be written into the folder; it need not exist, and is not created.

    Raises:
        StoreError: if the folder cannot be created or written; the message is one line.
    """
    problem = folder_problem(folder)
    if problem:
        raise StoreError(f"cannot write {folder}: {problem}")


def _sync_folder(folder: Path) -> None:
    """Flush the rename itself to disk, so that it survives a power cut; not possible on Windows."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
