"""The fork server: the process that workers are forked from. It imports the heavy modules once for all workers."""

import multiprocessing
import os
import signal
from multiprocessing import forkserver, resource_tracker
from typing import Any

from steadystep.lab.system.scarcity import scarcity_as_user_error
from steadystep.lab.system.torchrun import place

PRELOAD = "steadystep.lab.system.preload"
"""The module that the fork server imports."""

UNGUARDED = 87
"""The exit code of a worker that found itself running the script that started it."""


def worker_context() -> Any:
    """Return the multiprocessing context for workers: "forkserver", or "spawn" where that does not exist (Windows).

    Workers are never forked from this process: torch starts threads, and a child forked from a process with threads
    may hang.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOAD])
    return context


def warm_up() -> None:
    """Start the fork server. If called before this process imports torch, both processes import it in parallel.

    The fork server and the workers ignore Ctrl-C from their first instruction on. A process that received it during
    startup would die, and the study would then stop all other workers before they could save their state.

    Raises:
        ScarcityError: if there are too few processes or too little memory to start it.
    """
    exit_if_script_runs_again()
    if place() or worker_context().get_start_method() != "forkserver":
        return  # processes that torchrun started together have no workers
    with scarcity_as_user_error():
        resource_tracker.ensure_running()  # started first, because starting it would unblock the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # child processes inherit the signal mask
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def exit_if_script_runs_again() -> None:
    """End this process if it is a worker that is just starting and therefore imports the user's script.

    A worker imports the script of its parent, under another name than ``__main__``. A script without a guard then
    starts the same study in the worker, and so on without an end. The exit code tells the parent, which tells the user.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # multiprocessing's own test for this
        os._exit(UNGUARDED)
