"""The files of a local data set: Parquet files, or tar files in the format of WebDataset."""

import tarfile
from pathlib import Path


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder in one of the hub's layouts: beside the README or in `data`."""
    return _files(folder, "parquet")


def tar_files(folder: Path) -> list[Path]:
    """Return the tar files of a folder in one of the hub's layouts: beside the README or in `data`."""
    return _files(folder, "tar")


def find_damaged(folder: Path) -> Path | None:
    """Return the first data file of a folder that is truncated or in another format, or None if all are whole."""
    checks = [(path, _is_whole_parquet) for path in parquet_files(folder)]
    checks += [(path, _is_whole_tar) for path in tar_files(folder)]
    return next((path for path, is_whole in checks if not is_whole(path)), None)


def _files(folder: Path, extension: str) -> list[Path]:
    patterns = (f"*.{extension}", f"data/*.{extension}")
    return sorted(path for pattern in patterns for path in folder.glob(pattern)) if folder.is_dir() else []


def _is_whole_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.read(4)
        file.seek(-min(4, path.stat().st_size), 2)
        return first == file.read(4) == b"PAR1"


def _is_whole_tar(path: Path) -> bool:
    try:
        # The stream reads the content of each member; random access would not notice that the last one is truncated.
        with tarfile.open(path, "r|*") as archive:
            return len(archive.getmembers()) > 0
    except (tarfile.TarError, EOFError, OSError):
        return False
