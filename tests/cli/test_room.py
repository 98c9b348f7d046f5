"""A machine without memory or threads for a command: one line and code 2, and never a wait without an end."""

import _thread
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from child_processes import run_child
from steadystep.cli.app import run
from steadystep.cli.room import LISTS, TRAINING, check_room, usable_cores
from steadystep.lab.system.scarcity import ScarcityError

COMMANDS = [
    "reproduce",
    "compare",
    "stability",
    "success",
    "cost",
    "theory",
    "audit",
    "report x",
    "tasks",
    "optimizers",
]
SMALL = "reproduce --task digits-mlp --seeds 1 --epochs 1 --out out"


def limited(limit: str, command: str, folder: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run the command in a shell with this limit, as a user would."""
    program = f'ulimit {limit} && exec "$0" -m steadystep {command}'
    return run_child(["bash", "-c", program, sys.executable], cwd=folder, timeout=timeout)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the address space")
@pytest.mark.parametrize("command", COMMANDS)
def test_too_little_memory_for_anything(command: str, tmp_path: Path) -> None:
    result = limited("-v 500000", command, tmp_path)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert "memory (ulimit -v)" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the address space")
@pytest.mark.parametrize("kib", [1_000_000, 1_500_000])
def test_too_little_memory_for_training(kib: int, tmp_path: Path) -> None:
    result = limited(f"-v {kib}", SMALL, tmp_path)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the address space")
@pytest.mark.parametrize("mib_more", [60, 200])
def test_a_little_more_memory_than_is_asked_for_is_enough_or_refused(mib_more: int, tmp_path: Path) -> None:
    mib = TRAINING.mib + usable_cores() * TRAINING.mib_per_core + mib_more
    result = limited(f"-v {1024 * mib}", SMALL, tmp_path, timeout=300)
    assert result.returncode in (0, 2) and result.stderr.count("\n") <= 1, result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["reproduce", "--help"], ["--version"]])
def test_help_needs_no_room(
    arguments: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steadystep.cli.room.check_room", lambda room: pytest.fail("checked"))
    monkeypatch.setattr(sys, "argv", ["steadystep", *arguments])
    assert run() == 0
    assert capfd.readouterr().out


@pytest.mark.parametrize("started", [0, 1, 5])
def test_too_few_threads(
    started: int, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts, start, stack = [], _thread.start_new_thread, _thread.stack_size()

    def limited_start(function: Callable[..., object], arguments: tuple[object, ...]) -> int:
        if len(starts) == started:
            raise RuntimeError("can't start new thread")
        starts.append(function)
        return start(function, arguments)

    monkeypatch.setattr(_thread, "start_new_thread", limited_start)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["steadystep", *SMALL.split()])
    assert run() == 2
    out, error = capfd.readouterr()
    assert (out, error.count("\n")) == ("", 1) and "threads or processes (ulimit -u)" in error
    assert _thread.stack_size() == stack and not list(tmp_path.iterdir())


def test_the_room_of_this_machine_is_enough_and_is_given_back() -> None:
    for room in (LISTS, TRAINING):
        check_room(room)


def test_more_room_than_there_is() -> None:
    with pytest.raises(ScarcityError, match="needs 1099511627776 MiB of memory"):
        check_room(LISTS._replace(mib=2**40, mib_per_core=0))


@pytest.mark.parametrize("error", [MemoryError(), OSError(12, "Cannot allocate memory"), BlockingIOError(11, "Again")])
def test_scarcity_in_the_middle_of_a_command(
    error: Exception, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("rich.console.Console.print", fail)
    monkeypatch.setattr(sys, "argv", ["steadystep", "tasks"])
    assert run() == 2
    assert capfd.readouterr().err.count("\n") == 1
