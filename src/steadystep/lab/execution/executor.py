"""Executors: run trials in this process or in worker processes, and report their progress."""

import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from steadystep.lab.errors import UserError
from steadystep.lab.execution.batch_plan import plan_batches
from steadystep.lab.execution.observer import Observer
from steadystep.lab.execution.store import Store
from steadystep.lab.execution.worker import Job, PendingBatch, initialise_worker, run_in_worker, run_pending
from steadystep.lab.system.fork_server import warm_up, worker_context
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.training.processor import cpu_settings
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial


class WorkerDiedError(UserError):
    """A worker process was killed, usually because the machine ran out of memory."""


class Executor(Protocol):
    """Runs trials and stores their records."""

    def run(self, trials: Sequence[Trial], observer: Observer, recorded: Sequence[Trial] = ()) -> Mapping[str, Record]:
        """Run the trials and return their records by id. A trial that occurs twice runs once.

        `recorded` are the trials of the same stage that already have records; the division into batches depends on
        them.
        """
        ...

    def close(self) -> None:
        """Stop the worker processes."""
        ...


def make_executor(job: Job, splits: Splits, workers: int) -> Executor:
    """Return the executor for this many workers. Results do not depend on the number: every batch uses one thread."""
    return InProcess(job, splits) if workers == 1 else Processes(job, workers)


class InProcess:
    """Runs the batches one after the other in this process."""

    def __init__(self, job: Job, splits: Splits) -> None:
        self._job, self._splits = job, splits

    def run(self, trials: Sequence[Trial], observer: Observer, recorded: Sequence[Trial] = ()) -> Mapping[str, Record]:
        """Run the trials in this process; see `Executor.run`."""
        collector = _Collector(observer)
        with cpu_settings():
            for pending in _pending_batches(self._job, trials, recorded):
                run_pending(pending, self._job, self._splits, collector)
        return collector.records

    def close(self) -> None:
        """Do nothing."""


class Processes:
    """Runs the batches in worker processes, longest first. The processes are started by the first call of `run`."""

    def __init__(self, job: Job, workers: int) -> None:
        self._job, self._workers = job, workers
        self._context = worker_context()
        self._pool: ProcessPoolExecutor | None = None

    def run(self, trials: Sequence[Trial], observer: Observer, recorded: Sequence[Trial] = ()) -> Mapping[str, Record]:
        """Run the trials in the worker processes; see `Executor.run`."""
        pool = self._start()
        pending_batches = _pending_batches(self._job, trials, recorded)
        wanted = {trial.id for trial in trials}
        collector = _Collector(observer)
        failures: list[BaseException] = []

        def note_failure(future: Future[None]) -> None:
            error = None if future.cancelled() else future.exception()
            if error:
                failures.append(error)

        try:
            for pending in pending_batches:
                pool.submit(run_in_worker, pending).add_done_callback(note_failure)
            while len(collector.records) < len(wanted):
                self._forward_event(collector)
                if failures:
                    raise failures[0]
        except BrokenProcessPool as error:
            self._stop_all()
            raise WorkerDiedError(
                "a worker process was killed, usually because the machine ran out of memory; finished trials are "
                "stored: run the same command again with fewer --workers"
            ) from error
        except BaseException:
            self._stop_all()
            raise
        return collector.records

    def close(self) -> None:
        """Wait for the running batches to finish, then stop the worker processes."""
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _start(self) -> ProcessPoolExecutor:
        if not self._pool:
            warm_up()
            self._queue, self._stop = self._context.Queue(), self._context.Event()
            self._pool = ProcessPoolExecutor(
                self._workers,
                self._context,
                initializer=initialise_worker,
                initargs=(self._job, self._queue, self._stop),
            )
        return self._pool

    def _forward_event(self, observer: Observer) -> None:
        """Wait briefly for an event from a worker and forward it to the observer."""
        try:
            name, arguments = self._queue.get(timeout=0.1)
        except queue.Empty:
            return
        getattr(observer, name)(*arguments)

    def _stop_all(self) -> None:
        """Make every worker write its checkpoint and exit."""
        self._stop.set()
        self.close()


class _Collector:
    """An observer that forwards all events to another one and collects the records."""

    def __init__(self, observer: Observer) -> None:
        self.records: dict[str, Record] = {}
        self._observer = observer
        self.stage_started: Callable[..., None] = observer.stage_started
        self.trial_started: Callable[..., None] = observer.trial_started
        self.trial_progress: Callable[..., None] = observer.trial_progress
        self.warning: Callable[..., None] = observer.warning

    def trial_finished(self, record: Record) -> None:
        self.records[record.trial.id] = record
        self._observer.trial_finished(record)


def _pending_batches(job: Job, trials: Sequence[Trial], recorded: Sequence[Trial]) -> list[PendingBatch]:
    """Return the batches with missing records, longest first, so that all workers finish at about the same time."""
    store = Store(job.folder)
    missing = {trial.id for trial in trials}
    # A trial that was interrupted while it was trained alone is resumed alone.
    interrupted = [trial.id for trial in trials if store.checkpoint(trial).exists()]
    pending = []
    for batch in plan_batches([*trials, *recorded], job.replicas, alone=interrupted):
        missing_in_batch = frozenset(trial.id for trial in batch.trials if trial.id in missing)
        if missing_in_batch:
            pending.append(PendingBatch(batch, missing_in_batch))
        else:
            store.drop_checkpoint(batch)  # left over if the study was killed after the batch's last record
    return pending
