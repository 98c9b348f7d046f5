"""Text files in a folder, each whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

from steadystep.lab.system.atomic import refusals_named, write_atomic


def make_folder(folder: Path) -> None:
    """Make the folder where it is missing. Raises StoreError, in one line, where that cannot be."""
    with refusals_named(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write each content under its name, and return where; the folder is made where it is missing.

    Raises StoreError, in one line, where the folder cannot be written.
    """
    make_folder(folder)
    for name, content in files.items():
        write_atomic(folder / name, content)
    return [folder / name for name in files]
