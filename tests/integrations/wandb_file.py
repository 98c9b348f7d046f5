"""Read the file of an offline run of Weights & Biases: records of protobuf in blocks, as in a log of LevelDB."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32768
FILE_HEADER, RECORD_HEADER = 7, 7


def history_of(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a run, with nested names joined by a dot."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows = []
    for content in _records(file.read_bytes()):
        record = Record.FromString(content)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the records, which may be split at the ends of blocks: type 1 is whole, 2 a start, 3 a middle, 4 an end."""
    at, parts = FILE_HEADER, b""
    while at + RECORD_HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < RECORD_HEADER:
            at += left
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + RECORD_HEADER : at + RECORD_HEADER + size]
        at += RECORD_HEADER + size
        if kind in (1, 4):
            yield parts
            parts = b""
