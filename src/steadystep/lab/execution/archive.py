"""A finished study in two small files, to be kept beside the results that it supports."""

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

from steadystep.lab.errors import UserError
from steadystep.lab.system.atomic import refusals_named, write_atomic

NAME = "records.jsonl.gz"
"""One record a line, with its checksum, as ``records/ID.json`` holds it; in the order of the trials' identities."""


class BrokenPackError(UserError):
    """Packed records that cannot be read."""


def pack(study: Path, into: Path) -> list[Path]:
    """Pack all records of the study in `study`, and its declaration if it has one, into the folder `into`.

    The same records give the same bytes, and `into` is a study's folder again: a report can be made from it, or more
    trials run in it. What is packed in `study` already is packed again.
    """
    with refusals_named(into):
        into.mkdir(parents=True, exist_ok=True)
    packed = {trial: json.loads(line) for trial, line in unpack(study).items()}
    loose = {path.stem: json.loads(path.read_bytes()) for path in (study / "records").glob("*.json")}
    records = packed | {trial: {"id": trial, **record} for trial, record in loose.items()}
    content = "".join(json.dumps(records[trial]) + "\n" for trial in sorted(records))
    write_atomic(into / NAME, gzip.compress(content.encode(), mtime=0))
    declared = study / "study.json"  # a sweep of learning rates is declared by its command alone
    if declared.exists():
        write_atomic(into / "study.json", declared.read_bytes())
    return [path for path in (into / "study.json", into / NAME) if path.exists()]


def unpack(folder: Path) -> Mapping[str, bytes]:
    """The packed records of a folder by the identities of their trials; none where nothing is packed.

    Raises:
        BrokenPackError: if the file is no such pack.
    """
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        content = path.read_bytes()
        if not content:  # which gzip takes for an archive of nothing
            raise EOFError
        return {json.loads(line)["id"]: line for line in gzip.decompress(content).splitlines()}
    except (OSError, ValueError, KeyError, TypeError, EOFError, zlib.error) as error:
        raise BrokenPackError(
            f"{path} holds no packed records ({type(error).__name__}): pack the study again"
        ) from error
