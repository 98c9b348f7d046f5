"""Start child processes that end with the process that started them, even if that is killed (on Linux)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

MARK = "STEADYSTEP_TEST_MARK"
"""An environment variable by which a test finds all descendants of a process, also those that it has lost."""


def ends_with_this_process(command: Sequence[str]) -> list[str]:
    """Return a command that runs this one and is killed when this process ends; on other systems the same command."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-S", "-E", str(Path(__file__).with_name("end_with_parent.py")), str(os.getpid()), *command]


@contextmanager
def child(command: Sequence[str], **options: Any) -> Iterator[Any]:
    """Start a process in a group of its own, and kill the group at the end of the block."""
    defaults: dict[str, Any] = {"text": True, "stdin": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(ends_with_this_process(command), **defaults | options) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def run_child(command: Sequence[str], timeout: float = 300, **options: Any) -> Any:
    """Run a process to its end and return its exit code and output; it must not take longer than the timeout."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with child(command, **pipes | options) as process:
        out, error = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(command, process.returncode, out, error)


def marked_processes(mark: str) -> list[psutil.Process]:
    """Return the processes that inherited this value of MARK, wherever they are in the tree of processes."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def assert_all_end(mark: str, seconds: float) -> None:
    """Check that no marked process is left after at most this time."""
    end = time.monotonic() + seconds
    while left := marked_processes(mark):
        assert time.monotonic() < end, f"still there: {[process.cmdline() for process in left]}"
        time.sleep(0.1)
