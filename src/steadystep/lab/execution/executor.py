"""Runs trials, in this process or in several, and reports what they do as they do it."""

import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from steadystep.lab.errors import UserError
from steadystep.lab.execution.batches import batches
from steadystep.lab.execution.observer import Observer
from steadystep.lab.execution.store import Store
from steadystep.lab.execution.worker import Job, Work, perform, start, work
from steadystep.lab.system.fork_server import warm_up, worker_context
from steadystep.lab.tasks.task import Splits
from steadystep.lab.training.processor import computing_alike
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial


class WorkerDiedError(UserError):
    """A worker process ended without a word: killed, as a rule for want of memory."""


class Executor(Protocol):
    """Runs trials and keeps their records; returns them by id. A trial that is given twice runs once.

    `recorded` are trials of the same stage that are on record: they have a say in which are trained together.
    """

    def run(
        self, trials: Sequence[Trial], observer: Observer, recorded: Sequence[Trial] = ()
    ) -> Mapping[str, Record]: ...

    def close(self) -> None: ...


def make_executor(job: Job, splits: Splits, workers: int) -> Executor:
    """The executor for this many workers. The numbers do not depend on it: every batch has one thread."""
    return InProcess(job, splits) if workers == 1 else Processes(job, workers)


class InProcess:
    """One batch after the other, here."""

    def __init__(self, job: Job, splits: Splits) -> None:
        self._job, self._splits = job, splits

    def run(self, trials: Sequence[Trial], observer: Observer, recorded: Sequence[Trial] = ()) -> Mapping[str, Record]:
        collector = _Collector(observer)
        with computing_alike():
            for work in _planned(self._job, trials, recorded):
                perform(work, self._job, self._splits, collector)
        return collector.records

    def close(self) -> None:
        pass


class Processes:
    """As many batches at a time as there are workers, longest first. The processes start with the first one."""

    def __init__(self, job: Job, workers: int) -> None:
        self._job, self._workers = job, workers
        self._context = worker_context()
        self._pool: ProcessPoolExecutor | None = None

    def run(self, trials: Sequence[Trial], observer: Observer, recorded: Sequence[Trial] = ()) -> Mapping[str, Record]:
        pool = self._started()
        planned = _planned(self._job, trials, recorded)
        wanted = {trial.id for trial in trials}
        collector = _Collector(observer)
        failures: list[BaseException] = []

        def watch(future: Future[None]) -> None:
            error = None if future.cancelled() else future.exception()
            if error:
                failures.append(error)

        try:
            for given in planned:
                pool.submit(work, given).add_done_callback(watch)
            while len(collector.records) < len(wanted):
                self._pass_on(collector)
                if failures:
                    raise failures[0]
        except BrokenProcessPool as error:
            self._stop_all(observer)
            raise WorkerDiedError(
                "a worker process was killed, as a rule for want of memory; what was measured is kept: run the same "
                "command again, with fewer --workers"
            ) from error
        except BaseException:
            self._stop_all(observer)
            raise
        return collector.records

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _started(self) -> ProcessPoolExecutor:
        if not self._pool:
            warm_up()
            self._queue, self._stop = self._context.Queue(), self._context.Event()
            self._pool = ProcessPoolExecutor(
                self._workers, self._context, initializer=start, initargs=(self._job, self._queue, self._stop)
            )
        return self._pool

    def _pass_on(self, observer: Observer) -> None:
        """One message from a worker, if there is one soon."""
        try:
            name, arguments = self._queue.get(timeout=0.1)
        except queue.Empty:
            return
        getattr(observer, name)(*arguments)

    def _stop_all(self, observer: Observer) -> None:
        """Every worker writes its checkpoint and ends."""
        self._stop.set()
        self.close()


class _Collector:
    """Passes everything on, and keeps the records."""

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


def _planned(job: Job, trials: Sequence[Trial], recorded: Sequence[Trial]) -> list[Work]:
    """The batches that lack a trial, longest first: no worker is left alone with a long one at the end."""
    store = Store(job.folder)
    missing = {trial.id for trial in trials}
    # One that was interrupted when it was trained alone goes on alone.
    begun = [trial.id for trial in trials if store.checkpoint(trial).exists()]
    planned = []
    for batch in batches([*trials, *recorded], job.replicas, alone=begun):
        lacking = frozenset(trial.id for trial in batch.trials if trial.id in missing)
        if lacking:
            planned.append(Work(batch, lacking))
        else:
            store.drop_checkpoint(batch)  # of a study that was killed after the batch's last record
    return planned
