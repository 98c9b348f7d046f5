"""The process that workers are forked from: it imports everything heavy, once for all of them."""

import multiprocessing
from multiprocessing import forkserver
from typing import Any

PRELOAD = ["steadystep.lab.study.worker", "steadystep.lab.tasks"]
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
    """Start the fork server. Called before this process imports torch, it makes both import at the same time."""
    if worker_context().get_start_method() == "forkserver":
        forkserver.ensure_running()
