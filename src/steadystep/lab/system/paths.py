"""Say what is wrong with a path that a user gave: a link that leads nowhere, a file in the place of a folder."""

import os
from contextlib import suppress
from pathlib import Path


def path_problem(path: Path, error: OSError | None = None) -> str | None:
    """Return what is wrong with a path, or with the folders on the way to it.

    Args:
        path: The path.
        error: The error of the system, whose text is returned if nothing else is found. Default: none.

    Returns:
        The problem, or None if there is neither a problem nor an error.

    >>> path_problem(Path("/dev/null/out"))
    '/dev/null is not a folder'
    """
    with suppress(OSError):  # the system's own error then says more
        for part in reversed((path, *path.parents)):
            if part.is_symlink() and not part.exists():
                return f"{part} is a link that leads nowhere (to {part.readlink()})"
            if part != path and part.exists() and not part.is_dir():
                return f"{part} is not a folder"
    return None if error is None else str(error.strerror or error)


def folder_problem(folder: Path) -> str | None:
    """Return why files cannot be written into a folder, which need not exist yet, or None if they probably can.

    Nothing is created.
    """
    problem = path_problem(folder / "file")
    if problem:
        return problem
    try:
        existing = next(part for part in (folder, *folder.parents) if part.exists())
    except OSError as error:
        return str(error.strerror or error)
    except StopIteration:  # a drive that does not exist
        return f"there is no {folder.anchor}"
    return None if os.access(existing, os.W_OK | os.X_OK) else f"{existing} is not writable"
