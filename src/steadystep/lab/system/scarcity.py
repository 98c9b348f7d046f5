"""Recognise that the machine ran out of something: memory, threads and processes, or open files."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from steadystep.lab.errors import UserError

MEMORY = "memory (ulimit -v)"
THREADS = "threads or processes (ulimit -u)"
FILES = "open files (ulimit -n)"

_BY_NUMBER = {errno.ENOMEM: MEMORY, errno.EAGAIN: THREADS, errno.EMFILE: FILES, errno.ENFILE: FILES}
_BY_PHRASE = {  # in the messages of Python, the dynamic linker and torch, which have no error of their own
    "can't start new thread": THREADS,
    "failed to map segment": MEMORY,
    "cannot allocate memory": MEMORY,
    "can't allocate memory": MEMORY,
    "not enough memory": MEMORY,
    "out of memory": MEMORY,
}


class ScarcityError(UserError):
    """The machine, or a limit that is set for the user, has no more of what a study needs."""


def scarce(error: BaseException) -> str | None:
    """Return what ran out if that is the cause of the error, else None.

    >>> scarce(MemoryError()), scarce(RuntimeError("can't start new thread")), scarce(RuntimeError("size mismatch"))
    ('memory (ulimit -v)', 'threads or processes (ulimit -u)', None)
    """
    for cause in _causes(error):
        if isinstance(cause, MemoryError):
            return MEMORY
        if isinstance(cause, OSError) and cause.errno in _BY_NUMBER:
            return _BY_NUMBER[cause.errno]
        if isinstance(cause, ImportError | OSError | RuntimeError):
            text = str(cause).lower()
            for phrase, what in _BY_PHRASE.items():
                if phrase in text:
                    return what
    return None


def scarcity_message(what: str) -> str:
    """Return what to tell the user."""
    return (
        f"the machine has not enough {what} for this: close other programs, raise the limit or use fewer --workers; "
        "finished trials are stored, and the same command continues"
    )


@contextmanager
def scarcity_as_user_error() -> Iterator[None]:
    """Raise an error of one line in the place of one that means that the machine ran out of something.

    Raises:
        ScarcityError: if an error in the block has that cause.
    """
    try:
        yield
    except Exception as error:
        what = None if isinstance(error, UserError) else scarce(error)
        if what is None:
            raise
        raise ScarcityError(scarcity_message(what)) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the errors that it was raised from, or while they were handled."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
