"""Write files into a folder, each atomically."""

from collections.abc import Mapping
from pathlib import Path

from steadystep.lab.system.atomic import store_errors, write_atomic


def make_folder(folder: Path) -> None:
    """Create the folder if it does not exist.

    Raises:
        StoreError: if the folder cannot be created; the message is one line.
    """
    with store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> list[Path]:
    """Write each content under its name and return the paths; create the folder if it does not exist.

    Raises:
        StoreError: if the folder cannot be written; the message is one line.
    """
    make_folder(folder)
    for name, content in files.items():
        write_atomic(folder / name, content)
    return [folder / name for name in files]
