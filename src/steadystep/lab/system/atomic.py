"""Files that are there whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steadystep.lab.errors import UserError


class StoreError(UserError):
    """Something cannot be kept on disk: no permission, no room, no such place."""


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file so that whoever reads `path`, at any moment and after any crash, finds all of it or none.

    A uniquely named file in the same folder is written, flushed to the disk and renamed over `path`. Text is
    written in UTF-8. On failure `path` is as it was and the unfinished file is gone.

    Raises:
        StoreError: in one line, where the folder cannot be written or the disk is full.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_atomic(folder / "a.txt", "whole")
    >>> [path.name for path in folder.iterdir()]
    ['a.txt']
    """
    content = data.encode() if isinstance(data, str) else data
    unfinished = path.parent / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    with refusals_named(path):
        try:
            with unfinished.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


@contextmanager
def refusals_named(path: Path) -> Iterator[None]:
    """What the system refuses, as a StoreError that names the path."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where folders can be opened (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
