"""Data sets of encoded images: from a local folder of Parquet, tar or image files, or streamed from the hub."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.array_cache import cache_folder
from steadystep.lab.tasks.data import (
    find_local_folder,
    first_line,
    normalise_split_names,
    not_found,
    open_folder,
    quiet_datasets,
)
from steadystep.lab.tasks.data_files import parquet_files, tar_files
from steadystep.lab.tasks.image_decode import UnreadableImageError, read

FINGERPRINT_IMAGES = 64
"""How many images of each split are part of its fingerprint, in addition to all labels."""

_log = logging.getLogger(__name__)


class UnsuitableDataError(UserError):
    """Raised when a data set was found but the task cannot be trained on it."""


@dataclass(frozen=True)
class EncodedSplits:
    """The training and validation splits of an image data set, not decoded."""

    rows: Mapping[str, Any]  # by split; each row has `image` and `label`
    streamed: bool
    examples: Mapping[str, int]  # by split
    fingerprint: str


def open_images(hub_name: str, data: Path | None, classes: int) -> EncodedSplits:
    """Open the training and validation splits of an image data set.

    `data`, or else the environment variable STEADYSTEP_DATA, is a local folder: of Parquet files in the hub's layout,
    of tar files in the format of WebDataset, each sample an image and its label as a ``.cls`` file, with the split in
    the name of the tar file (``imagenet-train-0000.tar``), or of image files in ``train/CLASS/`` and ``val/CLASS/``.
    Without a local folder the hub's files are streamed.

    Raises:
        DataNotFoundError: If the data set was not found. The message is one line and names both ways to get the data.
        BrokenDataError: If a local file cannot be read. The message names it.
        UnsuitableDataError: If a split or a label is missing, or a local data set has more than `classes` classes.
    """
    folder = find_local_folder(hub_name, data, _format)
    splits = _from_hub(hub_name) if folder is None else open_folder(hub_name, folder, cache_folder() / "datasets")
    rows = {name: _undecoded(hub_name, splits, name) for name in ("train", "validation")}
    examples = {name: _examples(hub_name, split, streamed=folder is None) for name, split in rows.items()}
    source = "streamed from the Hugging Face hub" if folder is None else f"in {folder}, as {_format(folder)}"
    if parent_process() is None:  # workers need not log it again
        sizes = ", ".join(f"{count} images of {name}" for name, count in examples.items())
        _log.warning("%s %s: %s", hub_name, source, sizes)
    if folder is None:
        text = f"{hub_name} {sorted(examples.items())}".encode()
        return EncodedSplits(rows, True, examples, hashlib.sha256(text).hexdigest()[:16])
    _check_labels(folder, rows, classes)
    return EncodedSplits(rows, False, examples, _fingerprint(rows))


def labels_of(rows: Any) -> np.ndarray:
    """Return all labels of a split that is not streamed."""
    return np.asarray(rows.with_format("numpy")["label"][:], np.int64)


def _format(folder: Path) -> str | None:
    """Return the format of a folder's images, or None if it has no images in a format that can be read."""
    if parquet_files(folder):
        return "Parquet files"
    if tar_files(folder):
        return "tar files"
    has_splits = any((folder / name).is_dir() for name in ("val", "validation")) and (folder / "train").is_dir()
    return "image files" if has_splits else None


def _check_labels(folder: Path, rows: Mapping[str, Any], classes: int) -> None:
    for name, split in rows.items():
        missing = split.data.column("label").null_count
        if missing:
            raise UnsuitableDataError(
                f"{missing} of {len(split)} images of {name} in {folder} have no label: give each image a label"
            )
        labels = labels_of(split)
        wrong = labels[(labels < 0) | (labels >= classes)]
        if len(wrong):
            raise UnsuitableDataError(
                f"{folder} has a label {wrong[0]}, and the task has the {classes} classes from 0 to {classes - 1}: "
                "give a folder with these classes only"
            )


def _from_hub(hub_name: str) -> dict[str, Any]:
    with quiet_datasets(offline=False) as datasets:
        try:
            return normalise_split_names(datasets.load_dataset(hub_name, streaming=True))
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise not_found(hub_name, f"the hub did not return it ({first_line(error)})") from error


def _undecoded(hub_name: str, splits: Mapping[str, Any], name: str) -> Any:
    import datasets

    split = _named_as_on_the_hub(splits[name]) if name in splits else None
    if split is None or not {"image", "label"} <= set(split.column_names or ()):
        raise UnsuitableDataError(
            f"the data set {hub_name} has the splits {', '.join(splits)}: it needs train and validation, with the "
            "columns image and label (in tar files, an image and a .cls file for each sample); give another folder "
            "with --data"
        )
    return split.cast_column("image", datasets.Image(decode=False))


def _named_as_on_the_hub(split: Any) -> Any:
    """Rename the columns of WebDataset, which are named after the extensions of the files: .jpg or .png, and .cls."""
    import datasets

    images = [name for name, feature in (split.features or {}).items() if isinstance(feature, datasets.Image)]
    if "label" in (split.column_names or ()) or len(images) != 1 or "cls" not in split.column_names:
        return split
    return split.select_columns([*images, "cls"]).rename_columns({images[0]: "image", "cls": "label"})


def _examples(hub_name: str, rows: Any, *, streamed: bool) -> int:
    if not streamed:
        return len(rows)
    declared = (rows.info.splits or {}).get(str(rows.split))
    if declared is None or not declared.num_examples:
        raise UnsuitableDataError(
            f"the data set {hub_name} does not declare its number of images, so its epochs cannot be streamed: "
            "download it and give its folder with --data"
        )
    return declared.num_examples


def _fingerprint(rows: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, split in rows.items():
        digest.update(f"{name} {len(split)}".encode())
        digest.update(labels_of(split).data)
        for index in np.linspace(0, len(split) - 1, min(FINGERPRINT_IMAGES, len(split))).astype(int).tolist():
            try:
                digest.update(read(split[index]["image"]))
            except UnreadableImageError:
                digest.update(b"unreadable")
    return digest.hexdigest()[:16]
