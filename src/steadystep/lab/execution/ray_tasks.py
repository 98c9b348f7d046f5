"""The executor that runs trials as tasks of a Ray cluster."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from steadystep.lab.execution.cluster import Cluster
from steadystep.lab.execution.collector import Collector
from steadystep.lab.execution.observer import Observer, Silent
from steadystep.lab.execution.pending_batches import pending_batches
from steadystep.lab.execution.ray_worker import SHIP_SECONDS, Common, Outcome, run_task
from steadystep.lab.execution.shared_splits import SharedSplits, in_memory
from steadystep.lab.execution.store import Store, write_atomic
from steadystep.lab.execution.worker import Job, PendingBatch
from steadystep.lab.execution.worker_process import WorkerDiedError
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial

POLL_SECONDS = 0.5
"""Longest wait for a task, between two looks at the events."""

ATTEMPTS = 4
"""How often a batch is started if its process or node is lost."""


class RayTasks:
    """Runs the batches as Ray tasks, longest first. This process, the driver, stores the records.

    Nodes need no shared folder: the data are sent to each of them once, and records and checkpoints come back. A batch
    whose node is lost goes on from its last checkpoint on another one.

    Args:
        job: what all batches have in common.
        splits: the data of the task.
        cluster: what a trial takes of the cluster, to which this process is connected.
        ship_seconds: how often a task sends its checkpoint.
    """

    def __init__(self, job: Job, splits: Splits[Any], cluster: Cluster, ship_seconds: float = SHIP_SECONDS) -> None:
        import ray
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        beside_driver = {"num_cpus": 0, "scheduling_strategy": here}  # lost only together with the driver's own node
        self._events, self._stops = Queue(actor_options=beside_driver), Queue(actor_options=beside_driver)
        self._job, self._store, self._gpus = job, Store(job.folder), cluster.num_gpus
        shared = [ray.put(SharedSplits(splits))] if in_memory(splits) else []
        self._common = ray.put(Common(job, shared, self._events, self._stops, ship_seconds))
        self._shared = shared  # the owner keeps what tasks will ask for
        # A lost task is started again here, not by Ray, because only the driver has its latest checkpoint.
        self._task = ray.remote(num_cpus=1, num_gpus=cluster.num_gpus, max_retries=0)(run_task)
        self._running: dict[Any, PendingBatch] = {}
        self._attempts: dict[str, int] = {}
        self._started: set[str] = set()

    def run(self, trials: Sequence[Trial], observer: Observer, recorded: Sequence[Trial] = ()) -> Mapping[str, Record]:
        """Run the trials on the cluster; see `Executor.run`."""
        import ray

        collector = Collector(observer)
        self._warn_of_missing_gpus(collector)
        try:
            for pending in pending_batches(self._job, trials, recorded):
                self._submit(pending)
            while self._running:
                done, _ = ray.wait(list(self._running), timeout=POLL_SECONDS)
                self._handle_events(collector)
                for task in done:
                    self._finish(task, collector)
        except BaseException:
            self._stop_all()
            raise
        return collector.records

    def close(self) -> None:
        """Release the queues; the tasks have ended."""
        for queue in (self._events, self._stops):
            queue.shutdown(force=True)

    def _submit(self, pending: PendingBatch) -> None:
        path = self._store.checkpoint(pending.batch)
        checkpoint = path.read_bytes() if path.exists() else None
        self._running[self._task.remote(self._common, pending, checkpoint)] = pending
        self._attempts[pending.batch.id] = self._attempts.get(pending.batch.id, 0) + 1

    def _finish(self, task: Any, collector: Collector) -> None:
        """Store the outcome of a task that has ended, or start it again if it was lost."""
        import ray
        from ray.exceptions import RayError

        pending = self._running.pop(task)
        try:
            outcome: Outcome = ray.get(task)
        except RayError as error:
            attempts = self._attempts[pending.batch.id]
            reason = _first_line(error)
            if attempts >= ATTEMPTS:
                raise WorkerDiedError(
                    f"a trial was lost {attempts} times on the cluster ({reason}); finished trials are stored: run the "
                    "same command again when the cluster is whole"
                ) from error
            collector.warning(f"a trial was lost with its process or node ({reason}): it goes on elsewhere")
            self._submit(pending)
            return
        self._keep(pending, outcome, collector)
        if outcome.failure is not None:
            raise outcome.failure

    def _keep(self, pending: PendingBatch, outcome: Outcome, collector: Collector) -> None:
        for record in outcome.records:
            self._store.write(record)
            collector.trial_finished(record)
        if outcome.checkpoint is not None:
            write_atomic(self._store.checkpoint(pending.batch), outcome.checkpoint)
        elif outcome.failure is None:
            self._store.drop_checkpoint(pending.batch)

    def _handle_events(self, collector: Collector) -> None:
        events = self._events.get_nowait_batch(self._events.size())
        # All of them first: an observer may raise Ctrl-C, and the tasks that have started are then asked to stop.
        self._started.update(trial.id for name, trials in events if name == "trial_started" for trial in trials)
        for name, arguments in events:
            if name == "checkpoint":
                self._keep_checkpoint(*arguments)
            else:
                getattr(collector, name)(*arguments)

    def _keep_checkpoint(self, batch: str, content: bytes) -> None:
        """Store a checkpoint of a running batch; one that arrives after the batch's end is of no use."""
        for pending in self._running.values():
            if pending.batch.id == batch:
                write_atomic(self._store.checkpoint(pending.batch), content)

    def _stop_all(self) -> None:
        """Make every running task send its checkpoint and end, and drop those that have not started."""
        import ray
        from ray.exceptions import RayError

        self._stops.put(True)
        silent = Collector(Silent())
        self._handle_events(silent)
        waiting, self._running = self._running, {}
        for task, pending in waiting.items():
            if not pending.missing & self._started:  # it may wait for a node that never comes
                ray.cancel(task)
        while waiting:
            done, _ = ray.wait(list(waiting), timeout=POLL_SECONDS)
            for task in done:
                pending = waiting.pop(task)
                with suppress(RayError):  # it was cancelled, or its node was lost and its last checkpoint is here
                    self._keep(pending, ray.get(task), silent)

    def _warn_of_missing_gpus(self, observer: Observer) -> None:
        import ray

        present = ray.cluster_resources().get("GPU", 0.0)
        if self._gpus > present:
            observer.warning(
                f"a trial needs {self._gpus:g} of a GPU, and the cluster has {present:g}: the study waits for a node "
                "that has one"
            )


def _first_line(error: BaseException) -> str:
    """Return the kind of an error of Ray and the first line of its text; some are a page long."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
