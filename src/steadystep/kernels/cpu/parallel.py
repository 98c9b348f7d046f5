"""A thread pool that shares the work of a kernel, and the chunks that the work is split into.

Every thread of a kernel takes the next free share of the chunks from a shared counter until none is left. The calling
thread takes shares like the others, so the kernel never waits for a helper that starts late: by then none may be left.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numba import types

from steadystep.kernels.codegen import indented

CHUNK = 1 << 15
"""Elements in a chunk: few enough to share the work evenly, enough that taking a chunk costs nothing.

Small tensors are chunks of fewer elements, so that several of them make one share.
"""

MIN_SHARED_ELEMENTS = 1 << 16
"""The number of elements above which a second thread gains more than it costs to wake."""

COUNTERS_AND_CHUNKS = (types.int64[::1], types.int64[::1], types.int64[:, ::1])
"""The types of the arguments that every kernel begins with; see `Team.run`."""

Job = tuple[Callable[..., None], tuple[Any, ...]]


@dataclass(frozen=True)
class Chunks:
    """The chunks of several tensors, in order."""

    table: np.ndarray  # (chunks, 3), int64: the tensor's index, the chunk's first element, its number of elements
    shares: np.ndarray  # (shares + 1,), int64: the first chunk of each share, then the number of chunks
    tensors: int
    threads: int  # the largest number of threads among which it is worthwhile to share them


@lru_cache(maxsize=64)
def chunks(sizes: tuple[int, ...]) -> Chunks:
    """Split tensors of the given sizes into chunks."""
    rows = [
        (tensor, start, min(CHUNK, size - start))
        for tensor, size in enumerate(sizes)
        for start in range(0, size, CHUNK)
    ]
    table = np.array(rows, np.int64).reshape(-1, 3)
    shares = _shares(table[:, 2])
    threads = len(shares) - 1 if sum(sizes) > MIN_SHARED_ELEMENTS else 1
    return Chunks(table, shares, len(sizes), threads)


def _shares(lengths: np.ndarray) -> np.ndarray:
    """Return the first of each share of chunks with these lengths, and their number; a share is as long as a chunk."""
    starts = np.cumsum(lengths) - lengths
    firsts = np.unique(starts // CHUNK, return_index=True)[1]
    return np.append(firsts, len(lengths))


class Team:
    """Helper threads, started when first needed: with the caller, `torch.get_num_threads()` at most."""

    def __init__(self) -> None:
        self._forget()
        # A fork copies no threads; the child starts its own.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._work: SimpleQueue[Job] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()

    def run(self, kernel: Callable[..., None], work: Chunks, *arguments: Any) -> None:
        """Call the kernel with `arguments` in this thread and the helpers, and return when all chunks are done.

        Before `arguments`, it is given its counters, which are the numbers of shares that are taken and that are done,
        the shares, and the table of chunks. A kernel returns when all are done.
        """
        job = (np.zeros(2, np.int64), work.shares, work.table, *arguments)
        helpers = min(torch.get_num_threads(), work.threads) - 1 if work.threads > 1 else 0
        if helpers:
            if len(self._threads) < helpers:
                self._start(helpers)
            for _ in range(helpers):
                self._work.put((kernel, job))
        kernel(*job)

    def _start(self, helpers: int) -> None:
        with self._starting:
            while len(self._threads) < helpers:
                thread = threading.Thread(target=_help, args=(self._work,), name="steadystep", daemon=True)
                self._threads.append(thread)
                thread.start()


def _help(work: "SimpleQueue[Job]") -> None:
    while True:
        kernel, arguments = work.get()
        kernel(*arguments)
        del kernel, arguments  # the arrays of a step must not outlive it here


TEAM = Team()

_LOOP = """
def kernel(counters, shares, table, {arguments}):
    wide_vectors()
    taken, done = counters.ctypes.data, counters.ctypes.data + 8
    {before}
    while True:
        share = take_ticket(taken)
        if share >= len(shares) - 1:
            break
        for chunk in range(shares[share], shares[share + 1]):
            tensor, start, length = table[chunk]
            {each}
        take_ticket(done)
    while read_counter(done) < len(shares) - 1:
        pass
"""


def parallel_kernel(arguments: str, each: str, before: str = "") -> str:
    """Return the source of a kernel whose threads share the chunks, as `Team.run` calls it.

    Its signature begins with the types of `COUNTERS_AND_CHUNKS`.

    Args:
        arguments: the names of the kernel's arguments after `table`.
        each: what is done to a chunk, which is row `chunk` of the table: `length` elements of tensor number `tensor`
            from element `start` on.
        before: what every thread does once before its first chunk.
    """
    return _LOOP.format(
        arguments=arguments, before=indented(4, before.splitlines()), each=indented(12, each.splitlines())
    )
