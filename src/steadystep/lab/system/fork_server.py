"""The fork server: the process that workers are forked from. It imports the heavy modules once for all workers."""

import multiprocessing
import signal
from multiprocessing import forkserver, resource_tracker
from typing import Any

PRELOAD = ["steadystep.lab.execution.worker", "steadystep.lab.tasks"]
"""Modules that the fork server imports."""


def worker_context() -> Any:
    """Return the multiprocessing context for workers: "forkserver", or "spawn" where that does not exist (Windows).

    Workers are never forked from this process: torch starts threads, and a child forked from a process with threads
    may hang.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def warm_up() -> None:
    """Start the fork server. If called before this process imports torch, both processes import it in parallel.

    The fork server and the workers ignore Ctrl-C from their first instruction on. A process that received it during
    startup would die, and the pool would then kill all other workers before they could save their state.
    """
    if worker_context().get_start_method() == "forkserver":
        resource_tracker.ensure_running()  # started first, because starting it would unblock the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # child processes inherit the signal mask
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
