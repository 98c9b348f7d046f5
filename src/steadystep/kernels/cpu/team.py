"""Threads that share one kernel's work. Nothing waits for a thread that has not come yet.

A kernel hands its chunks out by a counter. The caller takes chunks like everybody else, so a helper that is late, held
up by other Python code or by another process, costs nothing: when it comes it finds nothing left to do.
"""

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch

WORTH_SHARING = 1 << 16
"""Elements from which a second thread gains more than it costs to wake."""


class Team:
    """Helping threads, started when first needed, as many as torch's thread count asks for."""

    def __init__(self) -> None:
        self._forget()
        # A fork takes no threads along; the child starts its own.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._work: SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()

    def run(self, kernel: Callable[..., None], elements: int, *arguments: Any) -> None:
        """Call ``kernel(counters, *arguments)`` here and in the helpers; return when all chunks are done.

        `counters` are the addresses of two: chunks taken, and chunks done. A kernel returns when every chunk is done.
        """
        counters = np.zeros(2, np.int64)
        address = counters.ctypes.data
        helpers = torch.get_num_threads() - 1 if elements > WORTH_SHARING else 0
        if helpers:
            if len(self._threads) < helpers:
                self._start(helpers)
            # The counters travel along: a late helper must find them.
            job = (kernel, (address, *arguments, counters))
            for _ in range(helpers):
                self._work.put(job)
        kernel(address, *arguments)

    def _start(self, helpers: int) -> None:
        with self._starting:
            while len(self._threads) < helpers:
                thread = threading.Thread(target=_help, args=(self._work,), name="steadystep", daemon=True)
                self._threads.append(thread)
                thread.start()


def _help(work: "SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]]") -> None:
    while True:
        kernel, (*arguments, _) = work.get()
        kernel(*arguments)
        del kernel, arguments, _  # what a step used must not outlive it here


TEAM = Team()
