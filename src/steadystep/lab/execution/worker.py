"""One process that runs trials: what it sets up, and how it goes when its parent is gone."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

import torch

from steadystep.lab.errors import UserError
from steadystep.lab.execution.batches import Batch
from steadystep.lab.execution.observer import Observer
from steadystep.lab.execution.store import Store
from steadystep.lab.replicas.run_batch import run_batch
from steadystep.lab.system.heap import keep_memory
from steadystep.lab.tasks.task import Splits, Task
from steadystep.lab.training.device import CPU
from steadystep.lab.training.processor import compute_alike
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import CHECKPOINT_SECONDS, TrialStopped, run_trial
from steadystep.lab.training.trial import Trial


@dataclass(frozen=True)
class Job:
    """What all trials of a study need: what to train, where the data and the folder are."""

    task: Task
    data: Path | None
    folder: Path
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    replicas: int = 1  # how many trials may be trained side by side
    device: torch.device = CPU


@dataclass(frozen=True)
class Work:
    """A batch, and the identities of those of its trials that are not on record yet."""

    batch: Batch
    missing: frozenset[str]


def perform(work: Work, job: Job, splits: Splits, observer: Observer, stop: Callable[[], bool] = lambda: False) -> None:
    """Run a batch and keep its records, telling the observer. In every kind of executor."""
    # That a kernel compiles is no news where progress is shown, and a study's errors stand alone on stderr.
    logging.getLogger("steadystep.kernels").setLevel(logging.ERROR)
    wanted = [trial for trial in work.batch.trials if trial.id in work.missing]
    for trial in wanted:
        if trial.data != splits.fingerprint:
            raise UserError(
                f"the data of {job.task.name} changed while the study ran (fingerprint {trial.data}, now "
                f"{splits.fingerprint}): run it in a new folder"
            )
    store = Store(job.folder, observer.warning)

    def keep(record: Record) -> None:
        if record.trial.id in work.missing:
            # Kept here and not by the parent: what a worker has finished outlives the parent's death.
            store.write(record)
            observer.trial_finished(record)

    def progress(trial: Trial, epoch: int, metrics: Mapping[str, float]) -> None:
        if trial.id in work.missing:
            observer.trial_progress(trial, epoch, trial.epochs, metrics)

    checkpoint = store.checkpoint(work.batch)
    options: Any = {"warn": observer.warning, "stop": stop, "checkpoint_seconds": job.checkpoint_seconds}
    for trial in wanted:
        observer.trial_started(trial)
    if len(work.batch.trials) > 1:
        run_batch(work.batch, job.task, splits, checkpoint, keep, on_epoch=progress, **options)
        store.drop_checkpoint(work.batch)
        return
    [trial] = wanted
    keep(
        run_trial(trial, job.task, splits, checkpoint, on_epoch=partial(progress, trial), device=job.device, **options)
    )


class Messenger:
    """An observer that sends everything to the parent's."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def stage_started(self, name: str, total_trials: int, total_steps: int) -> None:
        self._queue.put(("stage_started", (name, total_trials, total_steps)))

    def trial_started(self, trial: Trial) -> None:
        self._queue.put(("trial_started", (trial,)))

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        self._queue.put(("trial_progress", (trial, epoch, epochs, metrics)))

    def trial_finished(self, record: Record) -> None:
        self._queue.put(("trial_finished", (record,)))

    def warning(self, text: str) -> None:
        self._queue.put(("warning", (text,)))


@dataclass
class _Worker:
    """This process's part of the job; the data are loaded when the first trial asks for them."""

    job: Job
    observer: Observer
    stop: Callable[[], bool]
    splits: Splits | None = None


# A pool's initializer has no other way to leave something for the pool's tasks.
_here: list[_Worker] = []


def start(job: Job, queue: Any, stop: Any) -> None:
    """Make this process a worker: it computes as all do, deaf to Ctrl-C, gone as soon as its parent is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and asks to stop in good order
    threading.Thread(target=_follow_parent, daemon=True).start()
    compute_alike()
    torch.set_num_interop_threads(1)
    keep_memory()
    # Without this a worker that stops early would wait for the parent to read what it still had to say.
    queue.cancel_join_thread()
    _here.append(_Worker(job, Messenger(queue), stop.is_set))


def work(given: Work) -> None:
    """Run one batch in this worker."""
    [worker] = _here
    if worker.stop():
        return
    if worker.splits is None:
        worker.splits = worker.job.task.load(worker.job.data)
    with suppress(TrialStopped):
        perform(given, worker.job, worker.splits, worker.observer, worker.stop)


def _follow_parent() -> None:
    parent = parent_process()
    if parent:
        connection.wait([parent.sentinel])
        # At once, without clean-up: nobody is left to resume for, and every file on disk is whole.
        os._exit(1)
