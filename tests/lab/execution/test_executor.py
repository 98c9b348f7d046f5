"""Executors: the same results for any number of processes, and a clean exit in every case."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from child_processes import child
from steadystep.lab.errors import UserError
from steadystep.lab.execution.executor import InProcess, Processes, WorkerDiedError
from steadystep.lab.execution.run_study import UnfinishedStudyError, read_study, run_study
from steadystep.lab.execution.store import Store, StoredStudy
from steadystep.lab.execution.stored_runs import stored_runs
from steadystep.lab.execution.worker import Job
from steadystep.lab.training.checkpoint import UnsafeCheckpointError
from steadystep.lab.training.trial import Trial
from tiny_study import LONG, STUDY, TASK, RecordingObserver, load, numbers, tiny_trial

TESTS = Path(__file__).parents[2]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder = tmp_path / "study"
    Store(folder).declare(StoredStudy(study=STUDY, task_version=1, data="0" * 16))
    return Job(TASK, None, folder)


def in_processes(job: Job, trials: list[Trial], observer: RecordingObserver) -> dict:
    executor = Processes(job, workers=2)
    try:
        return dict(executor.run(trials, observer))
    finally:
        executor.close()


def test_results_do_not_depend_on_the_number_of_workers(job: Job, tmp_path: Path) -> None:
    trials = [tiny_trial(seed=seed, epochs=epochs) for seed in range(3) for epochs in (1, 2)]
    here, there = RecordingObserver(), RecordingObserver()
    alone = InProcess(job, load(None)).run(trials, here)
    other = Job(TASK, None, tmp_path / "other")
    Store(other.folder).declare(StoredStudy(study=STUDY, task_version=1, data="0" * 16))
    together = in_processes(other, trials, there)
    assert {key: numbers(record) for key, record in alone.items()} == {
        key: numbers(record) for key, record in together.items()
    }
    assert {record.environment.threads for record in [*alone.values(), *together.values()]} == {1}
    for observer, folder in ((here, job.folder), (there, other.folder)):
        assert {trial.id for trial in observer.started} == {trial.id for trial in trials}
        assert sorted(observer.epochs) == sorted((t.id, e) for t in trials for e in range(1, t.epochs + 1))
        for trial in trials:
            assert Store(folder).read(trial) == next(r for r in observer.finished if r.trial == trial)


def test_the_number_of_threads_is_restored(job: Job) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        InProcess(job, load(None)).run([tiny_trial(epochs=1)], RecordingObserver())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_killed_worker_raises_a_one_line_error(job: Job) -> None:
    class Killer(RecordingObserver):
        def trial_started(self, trial: Trial) -> None:
            workers = [p for p in psutil.Process().children(recursive=True) if "forkserver" in " ".join(p.cmdline())]
            leaf = next(p for p in workers if not p.children())
            leaf.kill()

    with pytest.raises(WorkerDiedError, match="fewer --workers") as failure:
        in_processes(job, [tiny_trial(epochs=LONG)], Killer())
    assert "\n" not in str(failure.value)


def test_a_workers_error_is_raised_in_the_parent(job: Job) -> None:
    trial = tiny_trial()
    Store(job.folder).checkpoint(trial).write_bytes(b"\x80\x04N.")
    with pytest.raises(UnsafeCheckpointError, match=trial.id):
        in_processes(job, [trial, tiny_trial(epochs=LONG)], RecordingObserver())


def test_an_interrupt_leaves_checkpoints_and_no_process(job: Job) -> None:
    class Interrupter(RecordingObserver):
        def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: object) -> None:
            if {t.id for t in self.started} == {t.id for t in trials}:
                raise KeyboardInterrupt

    trials = [tiny_trial(seed=seed, epochs=LONG) for seed in (0, 1)]
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        in_processes(job, trials, Interrupter())
    assert time.monotonic() - started < 60
    for trial in trials:
        assert Store(job.folder).checkpoint(trial).exists()
        assert Store(job.folder).read(trial) is None


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a study in a separate process group and yield it when its first trial has started."""
    command = [sys.executable, "-m", "drive_study", "endless", str(tmp_path / "study"), "2"]
    with child(command, cwd=TESTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith("started")
        yield process


def test_workers_exit_when_their_parent_is_killed(running: subprocess.Popen[str]) -> None:
    processes = psutil.Process(running.pid).children(recursive=True)
    assert len(processes) >= 3, "a fork server and two workers"
    running.kill()
    running.wait()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


def test_ctrl_c_ends_every_process_with_a_single_traceback(running: subprocess.Popen[str], tmp_path: Path) -> None:
    processes = psutil.Process(running.pid).children(recursive=True)
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert errors.count("Traceback") == 1
    assert "KeyboardInterrupt" in errors
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive
    assert list((tmp_path / "study" / "checkpoints").glob("*.pt"))


def test_a_finished_study_is_only_read(tmp_path: Path) -> None:
    first, second = RecordingObserver(), RecordingObserver()
    results = run_study(STUDY, TASK, None, tmp_path, 1, first)
    again = run_study(STUDY, TASK, None, tmp_path, 2, second)
    assert again == results
    assert first.stages == second.stages == ["tuning", "tuning clipped", "final runs"]
    assert second.started == []
    assert len(second.finished) == len(first.finished)


def test_a_grown_study_keeps_its_records(tmp_path: Path) -> None:
    first, second = RecordingObserver(), RecordingObserver()
    run_study(STUDY, TASK, None, tmp_path, 1, first)
    run_study(STUDY.model_copy(update={"seeds": 3}), TASK, None, tmp_path, 1, second)
    assert len(second.started) == 3 * 2
    assert {trial.seed for trial in second.started} == {2}


def test_a_study_is_read_from_its_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from steadystep.lab.tasks import TASKS

    monkeypatch.setitem(TASKS, TASK.name, TASK)
    results = run_study(STUDY, TASK, None, tmp_path)
    assert read_study(tmp_path) == results
    next((tmp_path / "records").glob("*.json")).unlink()
    with pytest.raises(UnfinishedStudyError, match="is not finished"):
        read_study(tmp_path)


def test_an_edited_record_is_run_again(tmp_path: Path) -> None:
    results = run_study(STUDY, TASK, None, tmp_path)
    trial = results.final["Adam", 2][1].trial
    path = tmp_path / "records" / f"{trial.id}.json"
    path.write_text(path.read_text().replace('"outcome": "finished"', '"outcome": "diverged"'))
    observer = RecordingObserver()
    again = run_study(STUDY, TASK, None, tmp_path, 1, observer)
    assert [t.id for t in observer.started] == [trial.id]
    assert len(observer.warnings) == 1
    assert [numbers(record) for record in again.final["Adam", 2]] == [numbers(r) for r in results.final["Adam", 2]]


def test_a_task_that_cannot_be_sent_to_workers_is_refused(tmp_path: Path) -> None:
    def model() -> nn.Module:
        return TASK.model()

    task = replace(TASK, model=model)
    with pytest.raises(UserError, match=r"cannot be sent to worker processes .* or use workers=1"):
        run_study(STUDY, task, None, tmp_path, workers=2)


def test_a_study_of_another_task_or_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="the study's task is 'tiny', but the given task is 'other'"):
        run_study(STUDY, replace(TASK, name="other"), None, tmp_path / "none")
    Store(tmp_path).declare(StoredStudy(study=STUDY, task_version=1, data="0" * 16))
    with pytest.raises(UserError, match="was run with version 1 of tiny, and this is version 2"):
        stored_runs(tmp_path, pytest.fail, replace(TASK, version=2))
    with pytest.raises(UserError, match="contains a study of the task 'tiny', and 'other' is given"):
        stored_runs(tmp_path, pytest.fail, replace(TASK, name="other"))
