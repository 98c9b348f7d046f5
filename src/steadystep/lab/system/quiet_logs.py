"""Change the levels of loggers for the length of a block."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def quiet_logs(levels: Mapping[str, int]) -> Iterator[None]:
    """Set loggers, by name, to these levels, and set them back at the end: they belong to the user's program."""
    before = {name: logging.getLogger(name).level for name in levels}
    try:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
