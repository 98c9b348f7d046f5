"""However a worker fails, at its start or in the middle, the study ends with one line, and never waits for it."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Pipe, parent_process
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from steadystep.lab.errors import UserError
from steadystep.lab.execution import executor, worker_process
from steadystep.lab.execution.executor import Processes, WorkerDiedError
from steadystep.lab.execution.stage_runner import stage_runner
from steadystep.lab.execution.store import Store, StoredStudy
from steadystep.lab.execution.worker import Job
from steadystep.lab.execution.worker_process import UnguardedScriptError, WorkerProcess
from steadystep.lab.execution.worker_start import serve
from steadystep.lab.system.fork_server import PRELOAD, UNGUARDED
from steadystep.lab.system.scarcity import ScarcityError
from steadystep.lab.tasks.splits import Arrays, Splits
from steadystep.lab.training.trial import Trial
from tiny_study import LONG, STUDY, TASK, RecordingObserver, load, tiny_trial


class Unsendable(Exception):
    """An error that cannot be made again from its arguments."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")


def out_of_memory() -> None:
    raise MemoryError


def no_thread() -> None:
    raise RuntimeError("can't start new thread")


def no_process() -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def no_tensor() -> None:
    torch.empty(2**50)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def aborted() -> None:
    os.kill(os.getpid(), signal.SIGABRT)


def left() -> None:
    os._exit(0)


def system_exit() -> None:
    sys.exit(0)


def unsendable() -> None:
    raise Unsendable(code=3)


def interrupted() -> None:
    raise KeyboardInterrupt


def end_of_file() -> None:
    raise EOFError("the data end too early")


def no_connection() -> None:
    raise ConnectionResetError(104, "Connection reset by peer")


def load_and(fail: Callable[[], None], data: Path | None) -> Splits[Arrays]:
    if parent_process():
        fail()
    return load(data)


class FailsInWorker:
    """A function that loads the data, and fails in workers only; workers can unpickle it."""

    def __init__(self, fail: Callable[[], None]) -> None:
        self.fail = fail

    def __call__(self, data: Path | None) -> Splits[Arrays]:
        return load_and(self.fail, data)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder = tmp_path / "study"
    Store(folder).declare(StoredStudy(study=STUDY, task_version=1, data="0" * 16))
    return Job(TASK, None, folder)


def run(job: Job, trials: list[Trial]) -> None:
    with stage_runner(job, load(None), 2, RecordingObserver()) as run_stage:
        run_stage("tuning", trials)


@pytest.mark.parametrize(
    ("fail", "kind", "words"),
    [
        (out_of_memory, ScarcityError, "not enough memory"),
        (no_thread, ScarcityError, "not enough threads"),
        (no_process, ScarcityError, "not enough threads or processes"),
        (no_tensor, ScarcityError, "not enough memory"),
        (killed, WorkerDiedError, "SIGKILL"),
        (aborted, WorkerDiedError, "SIGABRT"),
        (left, WorkerDiedError, "was killed"),
    ],
)
def test_a_worker_that_fails_ends_the_study_with_one_line(
    fail: Callable[[], None], kind: type[UserError], words: str, job: Job
) -> None:
    failing = replace(job, task=replace(TASK, load=FailsInWorker(fail)))
    with pytest.raises(kind, match=words) as failure:
        run(failing, [tiny_trial(epochs=1), tiny_trial(epochs=1, seed=1)])
    assert "\n" not in str(failure.value)
    assert "--workers" in str(failure.value)


@pytest.mark.parametrize(
    ("fail", "words"),
    [
        (system_exit, "SystemExit: 0"),
        (unsendable, "Unsendable: code 3"),
        (interrupted, "KeyboardInterrupt"),
        (end_of_file, "the data end too early"),
        (no_connection, "Connection reset by peer"),
    ],
)
def test_an_unexpected_error_of_a_worker_is_raised_with_its_traceback(
    fail: Callable[[], None], words: str, job: Job
) -> None:
    failing = replace(job, task=replace(TASK, load=FailsInWorker(fail)))
    with pytest.raises((RuntimeError, EOFError, ConnectionError), match=words) as failure:
        run(failing, [tiny_trial(epochs=1)])
    assert "In a worker process" in failure.value.__notes__[0] and f"in {fail.__name__}" in failure.value.__notes__[0]


@pytest.mark.parametrize(
    "error",
    [
        BlockingIOError(11, "Resource temporarily unavailable"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        EOFError("unexpected EOF"),
        ConnectionRefusedError(111, "Connection refused"),
        OSError(24, "Too many open files"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("started", [0, 1])
def test_a_process_that_cannot_be_started_ends_the_study_with_one_line(
    error: Exception, started: int, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an endless trial in the workers that did start."""
    context, starts = executor.worker_context(), []

    class Context:
        Pipe = staticmethod(context.Pipe)

        @staticmethod
        def Process(**arguments: Any) -> Any:
            process, start = context.Process(**arguments), len(starts)
            starts.append(process)
            if start == started:

                def fail() -> None:
                    raise error

                monkeypatch.setattr(process, "start", fail)
            return process

    monkeypatch.setattr(executor, "worker_context", Context)
    with pytest.raises(ScarcityError, match="a worker cannot be started") as failure:
        run(job, [tiny_trial(epochs=LONG), tiny_trial(epochs=LONG, seed=1)])
    assert "\n" not in str(failure.value)
    assert [process.is_alive() for process in starts[:started]] == [False] * started


@pytest.mark.parametrize(
    ("ready", "code", "kind", "words"),
    [
        (False, UNGUARDED, UnguardedScriptError, "__main__"),
        (True, UNGUARDED, WorkerDiedError, "was killed"),
        (False, 1, WorkerDiedError, r"ended while it started \(exit code 1\), and has printed why"),
        (False, -9, WorkerDiedError, r"ended while it started \(SIGKILL\), usually because .* out of memory"),
        (True, -9, WorkerDiedError, r"was killed \(SIGKILL\), usually"),
        (True, -64, WorkerDiedError, "was killed"),
        (True, None, WorkerDiedError, "was killed, usually"),
    ],
)
def test_the_message_says_how_a_worker_ended(
    ready: bool, code: int | None, kind: type[UserError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = object.__new__(WorkerProcess)
    worker.ready, (worker.connection, other) = ready, Pipe()
    worker._process = SimpleNamespace(join=lambda seconds: None, exitcode=code)
    other.close()
    with pytest.raises(kind, match=words) as failure:
        worker.receive()
    assert "\n" not in str(failure.value)


@pytest.fixture
def ctrl_c_as_before() -> Any:
    """Restore what the start of a worker changes in the process."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_as_before")
@pytest.mark.parametrize("trouble", ["thread", "preload"])
def test_a_worker_that_cannot_start_says_so(trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        if trouble == "thread":
            raise RuntimeError("can't start new thread")

    broken = SimpleNamespace(failure=ImportError("x.so: failed to map segment from shared object"))
    monkeypatch.setattr(threading.Thread, "start", fail)
    monkeypatch.setitem(sys.modules, PRELOAD, broken)  # pyright: ignore[reportArgumentType]
    (here, there), (control, _) = Pipe(), Pipe()
    serve(there, control)
    name, (error,) = here.recv()
    assert name == "failed" and isinstance(error, ImportError if trouble == "preload" else RuntimeError)


def test_a_second_ctrl_c_does_not_wait(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupter(RecordingObserver):
        def trial_started(self, trial: Trial) -> None:
            raise KeyboardInterrupt

    def interrupted_wait(worker: WorkerProcess) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(worker_process.WorkerProcess, "wait", interrupted_wait)
    running = Processes(job, 2)
    with pytest.raises(KeyboardInterrupt):
        running.run([tiny_trial(epochs=LONG), tiny_trial(epochs=LONG, seed=1)], Interrupter())
    assert running._workers == []
