"""Executors: run trials in this process, in worker processes or on a cluster, and report their progress."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

from steadystep.lab.execution.cluster import Cluster
from steadystep.lab.execution.collector import Collector
from steadystep.lab.execution.observer import Observer
from steadystep.lab.execution.pending_batches import pending_batches
from steadystep.lab.execution.portable_error import check_portable
from steadystep.lab.execution.process_group import lost_rank_errors, stop_signals
from steadystep.lab.execution.worker import Job, run_pending
from steadystep.lab.execution.worker_process import WorkerDiedError, WorkerProcess, wait_for_events
from steadystep.lab.system.fork_server import exit_if_script_runs_again, warm_up, worker_context
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.training.processor import cpu_settings
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import TrialStopped
from steadystep.lab.training.trial import Trial

__all__ = ["Executor", "InProcess", "Processes", "WorkerDiedError", "make_executor"]

POLL_SECONDS = 0.5
"""Longest wait for events at a time: on Windows, Ctrl-C does not interrupt a wait."""


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


def make_executor(job: Job, splits: Splits, workers: int, cluster: Cluster | None = None) -> Executor:
    """Return the executor for the job's ranks, a cluster or this many workers.

    Results depend on neither the cluster nor the workers: a batch uses one thread.
    """
    if not job.ranks.alone:
        return TogetherRanks(job, splits)
    if cluster is not None:
        from steadystep.lab.execution.ray_tasks import RayTasks  # Ray is an extra

        return RayTasks(job, splits, cluster)
    if workers == 1:
        return InProcess(job, splits)
    check_portable(job)
    return Processes(job, workers)


class InProcess:
    """Runs the batches one after the other in this process."""

    def __init__(self, job: Job, splits: Splits) -> None:
        self._job, self._splits = job, splits

    def run(self, trials: Sequence[Trial], observer: Observer, recorded: Sequence[Trial] = ()) -> Mapping[str, Record]:
        """Run the trials in this process; see `Executor.run`."""
        collector = Collector(observer)
        with cpu_settings():
            for pending in pending_batches(self._job, trials, recorded):
                run_pending(pending, self._job, self._splits, collector)
        return collector.records

    def close(self) -> None:
        """Do nothing."""


class TogetherRanks:
    """Runs the trials one after the other, each in all processes that torchrun started."""

    def __init__(self, job: Job, splits: Splits) -> None:
        self._job, self._splits = job, splits

    def run(self, trials: Sequence[Trial], observer: Observer, recorded: Sequence[Trial] = ()) -> Mapping[str, Record]:
        """Run the trials together with the other processes, which make the same call; see `Executor.run`.

        Raises:
            KeyboardInterrupt: after SIGINT or SIGTERM in any of the processes, and once the checkpoint is written.
            LostRankError: if another process has ended.
        """
        collector = Collector(observer)
        with cpu_settings(), stop_signals() as stop, lost_rank_errors():
            for pending in pending_batches(self._job, trials, recorded):
                try:
                    run_pending(pending, self._job, self._splits, collector, stop)
                except TrialStopped:
                    raise KeyboardInterrupt from None
        return collector.records

    def close(self) -> None:
        """Do nothing."""


class Processes:
    """Runs the batches in worker processes, longest first. The processes are started by the first call of `run`.

    There is no thread in this process: it waits for the workers' events, and for their end, in `run`.
    """

    def __init__(self, job: Job, workers: int) -> None:
        self._job, self._count = job, workers
        self._workers: list[WorkerProcess] = []

    def run(self, trials: Sequence[Trial], observer: Observer, recorded: Sequence[Trial] = ()) -> Mapping[str, Record]:
        """Run the trials in the worker processes; see `Executor.run`."""
        exit_if_script_runs_again()
        collector = Collector(observer)
        waiting = deque(pending_batches(self._job, trials, recorded))
        try:
            self._start(len(waiting))
            while waiting or any(worker.busy for worker in self._workers):
                for worker in self._workers:
                    if waiting and not worker.busy:
                        worker.give(waiting.popleft())
                for worker in wait_for_events(self._workers, POLL_SECONDS):
                    event = worker.receive()
                    if event:
                        name, arguments = event
                        getattr(collector, name)(*arguments)
        except BaseException:
            self._stop_all()
            raise
        return collector.records

    def close(self) -> None:
        """Wait for the running batches to finish, then stop the worker processes."""
        for worker in self._workers:
            worker.finish()
        self._wait_for_all()

    def _start(self, batches: int) -> None:
        """Start the workers that are missing; there is no use for more workers than batches."""
        missing = min(self._count, batches) - len(self._workers)
        if missing > 0:
            warm_up()
            context = worker_context()
            for _ in range(missing):
                self._workers.append(WorkerProcess(context, self._job))

    def _stop_all(self) -> None:
        """Make every worker write its checkpoint and exit."""
        for worker in self._workers:
            worker.stop()
        self._wait_for_all()

    def _wait_for_all(self) -> None:
        try:
            for worker in self._workers:
                worker.wait()
        finally:  # a second Ctrl-C ends the wait
            for worker in self._workers:
                worker.kill()
            self._workers = []
