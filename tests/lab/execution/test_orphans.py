"""Nothing goes on after the process that started it was killed: neither workers, nor what a test has started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from child_processes import MARK, assert_all_end, child, marked_processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes by their environment")

TESTS = Path(__file__).parents[2]
SECONDS = 60.0
"""How long it may take: a process that is just importing notices its parent's end after that."""


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the mark of all processes that the test starts."""
    mark = uuid4().hex
    monkeypatch.setenv(MARK, mark)
    return mark


def wait_for(number: int, mark: str) -> None:
    """Wait until there are this many marked processes."""
    end = time.monotonic() + 120
    while len(marked_processes(mark)) < number:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    "moment",
    [
        "the first process",
        "the fork server",
        pytest.param("the first worker", marks=pytest.mark.slow),
        pytest.param("the first trial", marks=pytest.mark.slow),
    ],
)
def test_a_killed_study_leaves_no_process(moment: str, mark: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "drive_study", "endless", str(tmp_path / "study"), "2"]
    with child(command, cwd=TESTS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        if moment == "the first trial":
            assert process.stdout.readline().startswith("started")
        else:  # besides the study's own process and multiprocessing's resource tracker
            wait_for({"the first process": 1, "the fork server": 3, "the first worker": 4}[moment], mark)
        process.kill()
        process.wait()
        assert_all_end(mark, SECONDS)


def test_a_killed_test_run_leaves_no_process(mark: str, tmp_path: Path) -> None:
    """A process starts another one as the tests do, and is killed as a whole test run may be: it cannot clean up."""
    program = """
import sys
from child_processes import child
with child(["sleep", "1000"]):
    print("started", flush=True)
    sys.stdin.read()
"""
    with child([sys.executable, "-c", program], cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == "started\n"
        assert len(marked_processes(mark)) == 2
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        assert_all_end(mark, SECONDS)


@pytest.mark.slow
def test_a_killed_test_run_leaves_no_study(mark: str, tmp_path: Path) -> None:
    program = f"""
import subprocess, sys
from child_processes import child
command = [sys.executable, "-m", "drive_study", "endless", {str(tmp_path / "study")!r}, "2"]
with child(command, stdout=subprocess.PIPE) as study:
    print(study.stdout.readline(), flush=True)
    sys.stdin.read()
"""
    with child([sys.executable, "-c", program], cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout.readline().startswith("started")
        assert len(marked_processes(mark)) >= 5, "this run, the study, its fork server and two workers"
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        assert_all_end(mark, SECONDS)
