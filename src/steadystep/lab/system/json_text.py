"""Read JSON from a file that anything may have been done to."""

import json
from typing import Any

DEEPEST = 100
"""Levels of a text that is read. What the lab writes has less than ten."""


def read_json(content: bytes | str) -> Any:
    """Return the content of a JSON text.

    Raises:
        ValueError: If it is not JSON, is nested too deeply to be copied or written, or has a key twice in one object.

    >>> read_json(b'{"seeds": 3}')
    {'seeds': 3}
    """
    try:
        found = json.loads(content, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [found]
    for _ in range(DEEPEST):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return found
    raise ValueError("it is nested too deeply")


def _children(parent: Any) -> list[Any]:
    """Return the objects and arrays that an object or an array contains."""
    children = parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ()
    return [child for child in children if isinstance(child, dict | list)]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {repeated!r} is given more than once")
    return found
