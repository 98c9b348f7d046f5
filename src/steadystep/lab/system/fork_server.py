"""The process that workers are forked from: it imports everything heavy, once for all of them."""

import multiprocessing
import signal
from multiprocessing import forkserver, resource_tracker
from typing import Any

PRELOAD = ["steadystep.lab.execution.worker", "steadystep.lab.tasks"]
"""What it imports."""


def worker_context() -> Any:
    """How worker processes are started: from the fork server, or afresh where there is none (Windows).

    Never by forking this process: a forked child of a process with threads, which torch starts, may hang.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def warm_up() -> None:
    """Start the fork server. Called before this process imports torch, it makes both import at the same time.

    It and the workers are deaf to Ctrl-C from their first instruction on: one that heard it while it started would
    die, and the pool would kill all others before they could save what they had.
    """
    if worker_context().get_start_method() == "forkserver":
        resource_tracker.ensure_running()  # which would lift the mask
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what is started inherits it
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
