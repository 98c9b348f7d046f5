"""Check at the start of a command that there is room for it: memory, and threads.

Some of the libraries that a command imports do not report that they are out of either. One of them waits for memory
without an end; another one sends the process a Ctrl-C.
"""

import _thread
import mmap
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import NamedTuple, ParamSpec, TypeVar

MIB = 2**20
STACK = 256 * 1024
"""Bytes of the stack of a thread that only sleeps."""

SECONDS = 0.05
"""How long the threads sleep: long enough for all of them to have been started."""

P = ParamSpec("P")
T = TypeVar("T")


class Room(NamedTuple):
    """What a command needs at least: a constant, and an addition for each core, for which libraries start threads."""

    mib: int
    mib_per_core: int
    threads: int
    threads_per_core: int


LISTS = Room(mib=540, mib_per_core=80, threads=0, threads_per_core=1)
"""For commands that print a list: they import torch."""

TRAINING = Room(mib=1940, mib_per_core=160, threads=8, threads_per_core=3)
"""For commands that train or write reports: as measured on the smallest task, with two workers."""


def with_room(command: Callable[P, T], room: Room) -> Callable[P, T]:
    """Return the command with a check for room before it; `--help` is not checked."""

    @wraps(command)
    def checked(*arguments: P.args, **options: P.kwargs) -> T:
        check_room(room)
        return command(*arguments, **options)

    return checked


def check_room(room: Room) -> None:
    """Check that memory and threads can be had, and give them back.

    Raises:
        ScarcityError: if they cannot; the message says how much is needed.
    """
    from steadystep.lab.system.scarcity import MEMORY, THREADS, ScarcityError

    cores = usable_cores()
    mib = room.mib + cores * room.mib_per_core
    try:
        _memory(mib * MIB)
    except (MemoryError, OSError, ValueError):
        raise ScarcityError(f"this command needs {mib} MiB of {MEMORY}: {_ADVICE}") from None
    threads = room.threads + (cores - 1) * room.threads_per_core
    try:
        _threads(threads)
    except RuntimeError:
        raise ScarcityError(f"this command needs {threads} {THREADS}: {_ADVICE}") from None


_ADVICE = "close other programs or raise the limit"


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _memory(size: int) -> None:
    """Reserve this many bytes, without using them, and give them back."""
    if sys.platform == "win32":
        mmap.mmap(-1, size).close()
    else:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()


def _threads(count: int) -> None:
    """Start this many threads, which end by themselves."""
    # Not by `threading`, whose threads run Python code: each would reserve memory that the process then keeps.
    before = _thread.stack_size(STACK)
    try:
        for _ in range(count):
            _thread.start_new_thread(time.sleep, (SECONDS,))
    finally:
        _thread.stack_size(before)
