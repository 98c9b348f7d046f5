"""What a worker process does: run the batches that the parent sends, and send it events."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from steadystep.lab.errors import UserError
from steadystep.lab.execution.channel import Channel
from steadystep.lab.execution.observer import Observer
from steadystep.lab.execution.store import Store
from steadystep.lab.replicas.run_batch import run_batch
from steadystep.lab.system.heap import keep_freed_memory
from steadystep.lab.system.quiet_logs import quiet_logs
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.device import CPU
from steadystep.lab.training.processor import apply_cpu_settings
from steadystep.lab.training.ranks import ALONE, Ranks
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import CHECKPOINT_SECONDS, TrialStopped, run_trial
from steadystep.lab.training.trial import Trial
from steadystep.lab.training.trial_batch import TrialBatch


@dataclass(frozen=True)
class Job:
    """The settings that all trials of a study share."""

    task: Task
    data: Path | None
    folder: Path
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    replicas: int = 1  # number of trials that may be trained side by side
    device: torch.device = CPU
    ranks: Ranks = ALONE  # the processes that train each trial together


@dataclass(frozen=True)
class PendingBatch:
    """A batch of trials, and the ids of its trials that have no record yet."""

    batch: TrialBatch
    missing: frozenset[str]


def run_pending(
    pending: PendingBatch, job: Job, splits: Splits, observer: Observer, stop: Callable[[], bool] = lambda: False
) -> None:
    """Run a batch, store its missing records and report to the observer.

    Raises:
        UserError: if the data changed since the study was declared.
    """
    missing = [trial for trial in pending.batch.trials if trial.id in pending.missing]
    for trial in missing:
        if trial.data != splits.fingerprint:
            raise UserError(
                f"the data of {job.task.name} changed while the study was running (fingerprint {trial.data}, now "
                f"{splits.fingerprint}): run it in a new folder"
            )
    store = Store(job.folder, observer.warning)

    def store_record(record: Record) -> None:
        if record.trial.id in pending.missing:
            # The worker stores the record, not the parent, so that it is not lost if the parent is killed.
            store.write(record)
            observer.trial_finished(record)

    def progress(trial: Trial, epoch: int, metrics: Mapping[str, float]) -> None:
        if trial.id in pending.missing:
            observer.trial_progress(trial, epoch, trial.epochs, metrics)

    checkpoint = store.checkpoint(pending.batch)
    options: Any = {"warn": observer.warning, "stop": stop, "checkpoint_seconds": job.checkpoint_seconds}
    for trial in missing:
        observer.trial_started(trial)
    # Messages about compiled kernels would disturb the progress display and the study's errors on stderr.
    with quiet_logs({"steadystep.kernels": logging.ERROR}):
        if len(pending.batch.trials) > 1:
            run_batch(pending.batch, job.task, splits, checkpoint, store_record, on_epoch=progress, **options)
            store.drop_checkpoint(pending.batch)
            return
        [trial] = missing
        options |= {"on_epoch": partial(progress, trial), "device": job.device, "ranks": job.ranks}
        store_record(run_trial(trial, job.task, splits, checkpoint, **options))


class Sender(Protocol):
    """The way to the process that shows the progress."""

    def send(self, message: Any) -> None:
        """Send a message."""


class ChannelObserver:
    """An observer that sends all events to the parent process."""

    def __init__(self, channel: Sender) -> None:
        self._channel = channel

    def stage_started(self, name: str, total_trials: int, total_steps: int) -> None:
        """Send the event."""
        self._channel.send(("stage_started", (name, total_trials, total_steps)))

    def study_extended(self, epochs: int) -> None:
        """Send the event."""
        self._channel.send(("study_extended", (epochs,)))

    def trial_started(self, trial: Trial) -> None:
        """Send the event."""
        self._channel.send(("trial_started", (trial,)))

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Send the event."""
        self._channel.send(("trial_progress", (trial, epoch, epochs, metrics)))

    def trial_finished(self, record: Record) -> None:
        """Send the event."""
        self._channel.send(("trial_finished", (record,)))

    def warning(self, text: str) -> None:
        """Send the event."""
        self._channel.send(("warning", (text,)))


def prepare_process() -> None:
    """Give this process the settings of a worker; torch allows that once."""
    apply_cpu_settings()
    torch.set_num_interop_threads(1)
    keep_freed_memory()


def run_batches(channel: Channel, stop: Callable[[], bool]) -> None:
    """Receive the job, say that this worker is ready, and run batches until the parent sends None.

    The data are loaded with the first batch.
    """
    prepare_process()
    job: Job = channel.receive()
    observer, splits = ChannelObserver(channel), None
    channel.send(("ready", ()))
    while (pending := channel.receive()) is not None:
        if stop():
            continue
        splits = job.task.load(job.data) if splits is None else splits
        with suppress(TrialStopped):
            run_pending(pending, job, splits, observer, stop)
        channel.send(("done", ()))
