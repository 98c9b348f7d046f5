"""What a Ray task does: run a batch of trials on whatever node it is, and return the records."""

import tempfile
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from steadystep.lab.execution.portable_error import portable
from steadystep.lab.execution.shared_splits import SharedSplits
from steadystep.lab.execution.store import Store
from steadystep.lab.execution.worker import ChannelObserver, Job, PendingBatch, prepare_process, run_pending
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.training.device import find_device
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import TrialStopped

SHIP_SECONDS = 30.0
"""Seconds of work that are lost at most with a node: how often the checkpoint of a batch is sent to the driver."""

SEND_SECONDS = 0.2
"""Seconds between two messages with events."""

ASK_SECONDS = 1.0
"""Seconds between two questions to the driver whether to stop."""


@dataclass(frozen=True)
class Outcome:
    """What a task returns: records, or the checkpoint of a batch that was stopped, or the error that it failed with."""

    records: tuple[Record, ...] = ()
    checkpoint: bytes | None = None
    failure: BaseException | None = None


@dataclass(frozen=True)
class Common:
    """What all tasks of a stage share. `splits` is a list with a reference to the shared data, or an empty one.

    Ray resolves references in a task's arguments, but not those in a list, so that a process can keep the data.
    """

    job: Job
    splits: list[Any]
    events: Any  # a ray.util.queue.Queue to the driver
    stops: Any  # a ray.util.queue.Queue that is empty until the tasks are to stop
    ship_seconds: float = SHIP_SECONDS


def run_task(common: Common, pending: PendingBatch, checkpoint: bytes | None) -> Outcome:
    """Run a batch of trials, from its checkpoint if there is one, in a folder of its own."""
    _prepare_once()
    with tempfile.TemporaryDirectory(prefix="steadystep-") as folder:
        driver = _Driver(common, pending, Path(folder))
        if driver.stop():
            return Outcome(checkpoint=checkpoint)
        if checkpoint is not None:
            driver.checkpoint.write_bytes(checkpoint)
        unfinished, failure = None, None
        try:
            job = replace(common.job, folder=Path(folder), device=find_device(str(common.job.device)))
            run_pending(pending, job, _splits(common), driver, driver.stop)
        except TrialStopped:
            unfinished = driver.checkpoint.read_bytes()
        except BaseException as error:  # noqa: BLE001 - the driver decides what to do about it
            failure = portable(error)
        driver.flush().result()  # so that the driver reads the events before the outcome
        return Outcome(tuple(driver.records), unfinished, failure)


class _Driver(ChannelObserver):
    """The driver as its task sees it: gets the events and checkpoints, and says when to stop.

    Nothing here waits in `ray.get`: Ray would count the task's CPU as free meanwhile, and start another task on it.
    """

    def __init__(self, common: Common, pending: PendingBatch, folder: Path) -> None:
        super().__init__(self)
        store = Store(folder)
        store.prepare()
        self.records: list[Record] = []
        self.checkpoint = store.checkpoint(pending.batch)
        self._id, self._common = pending.batch.id, common
        self._shipped = self._sent = time.monotonic()
        self._version_shipped = 0
        self._events: list[Any] = []
        self._asked = 0.0
        self._question: Future[bool] | None = None  # whether there is no wish to stop

    def send(self, message: Any) -> None:
        """Send a message with the next ones, or now if the last ones were sent a while ago."""
        self._events.append(message)
        if time.monotonic() - self._sent >= SEND_SECONDS:
            self.flush()

    def flush(self) -> Future[Any]:
        """Send the messages that wait, and return what is done when they have arrived."""
        events, self._events, self._sent = self._events, [], time.monotonic()
        return self._common.events.actor.put_nowait_batch.remote(events).future()

    def trial_finished(self, record: Record) -> None:
        """Keep the record for the outcome, which cannot be lost on the way."""
        self.records.append(record)

    def stop(self) -> bool:
        """Return whether to stop; send what waits to be sent."""
        now = time.monotonic()
        if now - self._shipped >= self._common.ship_seconds:
            self._shipped = now
            self._ship()
        if self._events and now - self._sent >= SEND_SECONDS:
            self.flush()
        return self._told_to_stop(now)

    def _told_to_stop(self, now: float) -> bool:
        """Return the driver's last answer, and ask again if it is old."""
        if self._question is None or (self._question.done() and now - self._asked >= ASK_SECONDS):
            stopping = self._question is not None and not self._question.result()
            self._asked, self._question = now, self._common.stops.actor.empty.remote().future()
            return stopping
        return self._question.done() and not self._question.result()

    def _ship(self) -> None:
        if not self.checkpoint.exists():
            return
        version = self.checkpoint.stat().st_mtime_ns
        if version != self._version_shipped:
            self._version_shipped = version
            self.send(("checkpoint", (self._id, self.checkpoint.read_bytes())))


_prepare_once = cache(prepare_process)
"""Ray uses a process for many tasks."""


_loaded: dict[str, Splits[Any]] = {}
"""The data that this process has, under their reference or the name of their task. There is one entry at most."""


def _splits(common: Common) -> Splits[Any]:
    """Return the data: the shared ones of the node, or those that the task of the study loads."""
    key = common.splits[0].hex() if common.splits else f"{common.job.task.name} {common.job.data}"
    if key not in _loaded:
        _loaded.clear()
        if common.splits:
            shared: SharedSplits = common.splits[0].future().result()
            _loaded[key] = shared.splits
        else:
            _loaded[key] = common.job.task.load(common.job.data)
    return _loaded[key]
