"""JSON of a file that anything may have been done to."""

import json
from typing import Any

import pytest

from steadystep.lab.system.json_text import DEEPEST, read_json

REFUSED = {
    "open arrays": b"[" * 200_000,
    "open objects": b'{"a":' * 200_000,
    "closed arrays": b"[" * 200_000 + b"]" * 200_000,
    "closed objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "a few too many": b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1),
    "as many as Python just reads": b"[" * 900 + b"]" * 900,
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice inside": b'[{"a": {"b": 1, "c": 2, "b": 1}}]',
    "nothing": b"",
    "half a text": b'{"a": [1, 2',
    "no text": b"\xff\xfe\xfa",
    "a long number": b"1" * 5_000,
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_what_is_not_sound_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError) as error:
        read_json(content)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [None, 1, "[{", [], {}, [{"a": [{"a": 1}, {"a": 2}]}, {"a": []}], json.loads("[" * 99 + "]" * 99)]
)
def test_what_is_sound_is_read(content: Any) -> None:
    assert read_json(json.dumps(content)) == content
