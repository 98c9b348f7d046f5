"""Threads that share one kernel's work. Nothing waits for a thread that has not come yet.

A kernel hands its chunks out by a counter. The caller takes chunks like everybody else, so a helper that is late, held
up by other Python code or by another process, costs nothing: when it comes it finds nothing left to do.
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

from steadystep.kernels.codegen import lines

WORTH_SHARING = 1 << 16
"""Elements from which a second thread gains more than it costs to wake."""

Job = tuple[Callable[..., None], tuple[Any, ...]]


class Team:
    """Helping threads, started when first needed, as many as torch's thread count asks for."""

    def __init__(self) -> None:
        self._forget()
        # A fork takes no threads along; the child starts its own.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._work: SimpleQueue[Job] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()

    def run(self, kernel: Callable[..., None], elements: int, *arguments: Any) -> None:
        """Call ``kernel(counters, *arguments)`` here and in the helpers; return when all chunks are done.

        `counters` are two: chunks taken, and chunks done. A kernel returns when every chunk is done.
        """
        job = (np.zeros(2, np.int64), *arguments)
        helpers = torch.get_num_threads() - 1 if elements > WORTH_SHARING else 0
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
        del kernel, arguments  # what a step used must not outlive it here


TEAM = Team()


_LOOP = """
def kernel(counters, table, {arguments}):
    wide_vectors()
    taken, done = counters.ctypes.data, counters.ctypes.data + 8
    {before}
    while True:
        chunk = take_ticket(taken)
        if chunk >= len(table):
            break
        tensor, start, length = table[chunk]
        {each}
        take_ticket(done)
    while read_counter(done) < len(table):
        pass
"""


def parallel_kernel(arguments: str, each: str, before: str = "") -> str:
    """The source of a kernel that threads share, as `Team.run` calls it.

    `each` is what is done to a chunk: `length` elements of tensor number `tensor` from element `start` on, being row
    `chunk` of the table. `before` is done once by every thread.
    """
    return _LOOP.format(arguments=arguments, before=lines(4, before.splitlines()), each=lines(8, each.splitlines()))


CHUNK = 1 << 15
"""Elements in a chunk: few enough to share evenly, enough that taking one costs nothing."""


@dataclass(frozen=True)
class Chunks:
    """The chunks of tensors of these sizes, in order."""

    table: np.ndarray  # (chunks, 3), int64: the tensor, where in it the chunk starts, and how long it is
    tensors: int
    elements: int


@lru_cache(maxsize=64)
def chunks(sizes: tuple[int, ...]) -> Chunks:
    """The chunks of tensors with so many elements."""
    rows = [
        (tensor, start, min(CHUNK, size - start))
        for tensor, size in enumerate(sizes)
        for start in range(0, size, CHUNK)
    ]
    return Chunks(np.array(rows, np.int64).reshape(-1, 3), len(sizes), sum(sizes))
