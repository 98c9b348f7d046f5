"""Pack a study into two small files that can be stored alongside the published results."""

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steadystep.lab.counted import count
from steadystep.lab.errors import UserError
from steadystep.lab.system.atomic import store_errors, write_atomic
from steadystep.lab.system.json_text import read_json

NAME = "records.jsonl.gz"
"""The packed file: one record with its checksum per line, as in ``records/ID.json``, sorted by the trials' ids."""


class BrokenPackError(UserError):
    """A file of packed records that cannot be read."""


def pack(study: Path, into: Path) -> list[Path]:
    """Pack all records of the study in the folder `study`, and its declaration if it has one, into the folder `into`.

    The same records give the same bytes. `into` is a valid study folder: it can be used to make a report or to run
    more trials. Records that are already packed in `study` are included.

    Returns:
        The paths of the files in `into`.

    Raises:
        BrokenPackError: if `study` contains records that cannot be read.
        UserError: if `into` contains packed records of something else, which would be lost.
        StoreError: if `into` cannot be written.
    """
    with store_errors(into):
        into.mkdir(parents=True, exist_ok=True)
    packed = {trial: read_json(line) for trial, line in unpack(study).items()}
    loose = {path.stem: _loose(path) for path in (study / "records").glob("*.json")}
    records = packed | {trial: {"id": trial, **record} for trial, record in loose.items()}
    others = len(unpack(into).keys() - records.keys())
    if others:
        raise UserError(
            f"{into} contains {count(others, 'packed record')} that {study} does not have, of another study or of more "
            "runs: choose another folder with --pack"
        )
    content = "".join(json.dumps(records[trial]) + "\n" for trial in sorted(records))
    write_atomic(into / NAME, gzip.compress(content.encode(), mtime=0))
    declaration = study / "study.json"  # a sweep of learning rates has none
    if declaration.exists():
        write_atomic(into / "study.json", declaration.read_bytes())
    return [path for path in (into / "study.json", into / NAME) if path.exists()]


def unpack(folder: Path) -> Mapping[str, bytes]:
    """Return a folder's packed records, keyed by trial id; empty if there is no packed file.

    Raises:
        BrokenPackError: if the file does not contain packed records.
    """
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        content = path.read_bytes()
        if not content:  # gzip would read an empty file as an empty archive
            raise EOFError
        return {read_json(line)["id"]: line for line in gzip.decompress(content).splitlines()}
    except (OSError, ValueError, KeyError, TypeError, EOFError, zlib.error) as error:
        raise BrokenPackError(
            f"{path} does not contain packed records ({type(error).__name__}): pack the study again"
        ) from error


def _loose(path: Path) -> Mapping[str, Any]:
    """Return the content of one file of records/."""
    try:
        record = read_json(path.read_bytes())
        if isinstance(record, dict):
            return record
        reason = "it is not an object"
    except (OSError, ValueError) as error:
        reason = str(error)
    raise BrokenPackError(
        f"{path} is not a record ({reason}): run the study again, which sets it aside, and then pack it"
    )
