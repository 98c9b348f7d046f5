"""The loader for all data sets: by name from the Hugging Face hub, or from a local folder, cached as arrays."""

import hashlib
import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import parent_process
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from steadystep.lab.errors import UserError
from steadystep.lab.system.paths import path_problem
from steadystep.lab.system.quiet_logs import quiet_logs
from steadystep.lab.tasks.array_cache import cached_arrays
from steadystep.lab.tasks.data_files import find_damaged, parquet_files

ENVIRONMENT_VARIABLE = "STEADYSTEP_DATA"
_log = logging.getLogger(__name__)


class DataNotFoundError(UserError):
    """Raised when a data set is neither in a local folder nor available from the hub."""


class BrokenDataError(UserError):
    """Raised when a data set was found but a part of it is unreadable, missing or unexpected."""


class Images(NamedTuple):
    """The images of one split, in the data set's order."""

    pixels: np.ndarray  # (examples, height, width) or (examples, height, width, channels), uint8
    labels: np.ndarray  # (examples,), int64


def load_images(
    hub_name: str, data: Path | None, *, splits: tuple[str, ...] = ("train", "test"), image: str = "image",
    label: str = "label", mode: str | None = None,
) -> Mapping[str, Images]:  # fmt: skip
    """Return the decoded splits of an image data set whose images all have the same size.

    Args:
        hub_name: Owner/name on the hub.
        data: A local folder, or None; see `load_arrays`.
        splits: The splits to load.
        image: The column of the images.
        label: The column of the labels.
        mode: The Pillow mode that all images are converted to, such as "RGB". Default: no conversion.

    Raises:
        DataNotFoundError: As `load_arrays`.
        BrokenDataError: As `load_arrays`.
    """

    def decode(opened: Mapping[str, Any]) -> dict[str, np.ndarray]:
        pairs = {split: _decode(opened[split], image, label, mode)._asdict() for split in splits}
        return {f"{split}_{name}": array for split, pair in pairs.items() for name, array in pair.items()}

    arrays = load_arrays(hub_name, data, splits, (image, label), decode, key=mode or "")
    return {split: Images(arrays[f"{split}_pixels"], arrays[f"{split}_labels"]) for split in splits}


def load_arrays(
    hub_name: str, data: Path | None, splits: tuple[str, ...], columns: tuple[str, ...],
    make: Callable[[Mapping[str, Any]], dict[str, np.ndarray]], *, key: str = "", revision: str | None = None,
) -> Mapping[str, np.ndarray]:  # fmt: skip
    """Return the arrays that `make` returns for a data set's splits, from the cache if they were made before.

    `data`, or else the environment variable STEADYSTEP_DATA, is a local folder: either the folder of the data set or
    one that contains it under its short name (``mnist`` for ``ylecun/mnist``), in the layout of Hugging Face
    `datasets`. With a local folder the network is not used. Without one, `datasets` finds or downloads the data set by
    name.

    Args:
        hub_name: Owner/name on the hub.
        data: A local folder, or None.
        splits: The splits that `make` reads.
        columns: The columns that `make` reads.
        make: A function from the splits, as `datasets` opens them, to arrays by name.
        key: Any text that changes when `make` changes.
        revision: The revision of the hub's repository. Default: its main branch.

    Raises:
        DataNotFoundError: If the data set was not found. The message is one line and names both ways to get the data.
        BrokenDataError: If a file cannot be read, or a split or column is missing. The message names it.
    """
    folder = find_local_folder(hub_name, data)
    with TemporaryDirectory() as scratch:
        # The scratch folder spares a second copy of the local examples in the Hugging Face cache.
        loaded: Any = None if folder else _from_hub(hub_name, revision)
        sources = parquet_files(folder) if folder else _arrow_files(loaded, splits)

        def open_and_make() -> dict[str, np.ndarray]:
            opened = open_folder(hub_name, folder, scratch) if folder else loaded
            _check_columns(hub_name, opened, splits, columns)
            return make(opened)

        return cached_arrays(_short_name(hub_name), _key(sources, splits, columns, key), open_and_make)


def find_local_folder(
    hub_name: str, data: Path | None, has_data: Callable[[Path], object] | None = None
) -> Path | None:
    """Return the local folder of a data set, or None if neither `data` nor the environment variable names a folder.

    `has_data` returns whether a folder contains such data. Default: whether it contains parquet files.

    Raises:
        DataNotFoundError: If a folder is named and does not contain the data set.
    """
    parent = data or (Path(os.environ[ENVIRONMENT_VARIABLE]) if os.environ.get(ENVIRONMENT_VARIABLE) else None)
    if parent is None:
        return None
    problem = path_problem(parent / _short_name(hub_name))
    if problem:
        raise not_found(hub_name, problem)
    for folder in (parent / _short_name(hub_name), parent):
        if (has_data or parquet_files)(folder):
            return folder
    raise not_found(hub_name, f"no data files in {parent / _short_name(hub_name)} or {parent}")


def fingerprint_arrays(*arrays: np.ndarray) -> str:
    """Return 16 hexadecimal digits that identify the content of the arrays, in this order.

    >>> fingerprint_arrays(np.arange(3)) == fingerprint_arrays(np.arange(3)) != fingerprint_arrays(np.arange(4))
    True
    """
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def normalise_split_names(splits: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the split that some data sets call valid or val to validation.

    >>> normalise_split_names({"train": 1, "valid": 2})
    {'train': 1, 'validation': 2}
    """
    return {"validation" if name in ("valid", "val") else name: split for name, split in splits.items()}


def _short_name(hub_name: str) -> str:
    return hub_name.rpartition("/")[2]


def _arrow_files(loaded: Any, splits: tuple[str, ...]) -> list[Path]:
    return [Path(file["filename"]) for split in splits for file in loaded[split].cache_files]


def open_folder(hub_name: str, folder: Path, cache: str | Path) -> Any:
    """Open the splits of a local folder, converted to Arrow files in `cache`, without using the network.

    Raises:
        BrokenDataError: If a file cannot be read. The message names it.
    """
    with quiet_datasets(offline=True) as datasets:
        try:
            return normalise_split_names(datasets.load_dataset(str(folder), cache_dir=str(cache)))
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            damaged = find_damaged(folder) or folder
            raise BrokenDataError(
                f"the data set {hub_name} cannot be read: {damaged} is damaged or in another format "
                f"({first_line(error)}); replace it, or give another folder with --data"
            ) from error


def _check_columns(hub_name: str, opened: Any, splits: tuple[str, ...], columns: tuple[str, ...]) -> None:
    for split in splits:
        if split not in opened:
            raise BrokenDataError(
                f"the data set {hub_name} has no split {split!r}, only {', '.join(opened)}: give another folder with "
                "--data"
            )
        for column in columns:
            if column not in opened[split].column_names:
                raise BrokenDataError(
                    f"the data set {hub_name} has no column {column!r} in its split {split!r}, only "
                    f"{', '.join(opened[split].column_names)}: give another folder with --data"
                )


def _from_hub(hub_name: str, revision: str | None) -> Any:
    if parent_process() is None:  # workers find it in the hub's cache and need not log it again
        _log.warning("looking for %s on the Hugging Face hub or in its cache", hub_name)
    with quiet_datasets(offline=False) as datasets:
        try:
            return normalise_split_names(datasets.load_dataset(hub_name, revision=revision))
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise not_found(hub_name, f"the hub did not return it ({first_line(error)})") from error


@contextmanager
def quiet_datasets(offline: bool) -> Iterator[Any]:
    """Provide the `datasets` library without progress bars and log messages and, if `offline`, without the network."""
    import datasets
    import datasets.config
    from huggingface_hub import constants

    settings = [(datasets.config, "HF_HUB_OFFLINE"), (constants, "HF_HUB_OFFLINE")]
    before = [getattr(module, name) for module, name in settings]
    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    for (module, name), value in zip(settings, before, strict=True):
        setattr(module, name, offline or value)
    try:
        # Failures are reported by the error that is raised; `datasets` would log them before that.
        with quiet_logs({"huggingface_hub": logging.ERROR, "datasets": logging.CRITICAL}):
            yield datasets
    finally:
        for (module, name), value in zip(settings, before, strict=True):
            setattr(module, name, value)
        if bars:
            datasets.enable_progress_bars()


def not_found(hub_name: str, why: str) -> DataNotFoundError:
    """Return the error for a data set that was not found, with both ways to get the data."""
    return DataNotFoundError(
        f"the data set {hub_name} was not found: {why}; give its folder (or the one that contains "
        f"{_short_name(hub_name)}) with --data DIR or {ENVIRONMENT_VARIABLE}, or leave both out while online and it is "
        "downloaded by name"
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the error's type if there is no message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _decode(split: Any, image: str, label: str, mode: str | None) -> Images:
    import datasets
    from PIL import Image

    raw = split.cast_column(image, datasets.Image(decode=False))[:]
    pictures = [Image.open(io.BytesIO(item["bytes"]) if item["bytes"] else item["path"]) for item in raw[image]]
    converted = (picture.convert(mode) if mode else picture for picture in pictures)
    return Images(np.stack([np.asarray(picture) for picture in converted]), np.array(raw[label], np.int64))


def _key(sources: list[Path], splits: tuple[str, ...], columns: tuple[str, ...], key: str) -> str:
    """Return a string that changes whenever a source file may have changed."""
    text = repr((splits, *columns)) + key
    for path in sources:
        status = path.stat()
        text += f"\n{path.name} {status.st_size} {status.st_mtime_ns}"
    return text
