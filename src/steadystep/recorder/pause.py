"""While the doctor replays a run, the boxes of the run itself must not record or write anything."""

from collections.abc import Iterator
from contextlib import contextmanager

REPLAYS: list[object] = []
"""The replays that are going on; every step of a box looks at it, which is why it is not a function."""


@contextmanager
def pause() -> Iterator[None]:
    """Pause every box except those that are created within this block."""
    REPLAYS.append(object())
    try:
        yield
    finally:
        REPLAYS.pop()
