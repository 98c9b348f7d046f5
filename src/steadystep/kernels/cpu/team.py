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
