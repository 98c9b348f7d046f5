"""Estimate how long a study will still take, from the rate of its latest epochs."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from steadystep.lab.counted import count
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial

LEAST_REPORTS = 2
"""Number of reports after the first one of a stage that an estimate needs."""

WINDOW = 60.0
"""Seconds of reports that the rate is computed from, unless fewer reports than `LEAST_REPORTS` are that recent."""

TOGETHER = 0.25
"""Seconds within which reports count as one: trials that are trained side by side report at the same moment."""


@dataclass
class _Report:
    """The epochs trained in a stage until this report, and when it began and ended."""

    began: float
    ended: float
    trained: int


class TimeLeft:
    """Counts the epochs of a study and estimates the time until the last one.

    The rate is that of the latest reports of the running stage. It is measured from the first report of the stage on,
    so that starting the workers, loading the data and compiling kernels are left out. A diverged trial counts for the
    epochs that it trained, and the epochs that it skipped are no longer part of the study.

    Args:
        epochs: Epochs of all trials of the study.
        clock: Returns the current time in seconds. Default: `time.monotonic`.
    """

    def __init__(self, epochs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done: dict[str, int] = {}  # by the identity of the trial
        self._finished: set[str] = set()
        self._reports: deque[_Report] = deque()
        self.total, self.done = epochs, 0

    def start_stage(self) -> None:
        """Begin to measure the rate again: the trials of another stage may be faster or slower."""
        self._reports.clear()

    def report_epoch(self, trial: Trial, epoch: int) -> None:
        """Count an epoch that a trial has just trained; `epoch` is its number, counted from 1."""
        if epoch <= self._done.get(trial.id, 0):
            return
        self._count(trial, epoch)
        now = self._clock()
        trained = 1 + (self._reports[-1].trained if self._reports else 0)
        if self._reports and now - self._reports[-1].began < TOGETHER:
            self._reports[-1].ended, self._reports[-1].trained = now, trained
        else:
            self._reports.append(_Report(now, now, trained))
        while len(self._reports) > 1 + LEAST_REPORTS and now - self._reports[1].ended > WINDOW:
            self._reports.popleft()

    def finish(self, record: Record) -> None:
        """Count a trial that has ended, or that has a record of an earlier run of the command."""
        if record.trial.id in self._finished:
            return
        self._finished.add(record.trial.id)
        trained = len(record.curve.train_loss)
        self.total -= record.trial.epochs - trained
        self._count(record.trial, trained)

    def epochs_of(self, trial: Trial) -> int:
        """Return the number of epochs of a trial that are done."""
        return self._done.get(trial.id, 0)

    def seconds(self) -> float | None:
        """Return the estimated time until the last epoch, or None as long as nothing is known about the rate."""
        if len(self._reports) < 1 + LEAST_REPORTS:
            return None
        first, last = self._reports[0], self._reports[-1]
        per_epoch = (last.ended - first.ended) / (last.trained - first.trained)
        between = (last.ended - first.ended) / (len(self._reports) - 1)
        # Between two reports the estimate counts down, but no further than to the next report, which may be late.
        waited = min(self._clock() - last.ended, between)
        return max(per_epoch * (self.total - self.done) - waited, 0.0)

    def _count(self, trial: Trial, epochs: int) -> None:
        before = self._done.get(trial.id, 0)
        self._done[trial.id] = max(before, epochs)
        self.done += self._done[trial.id] - before


def duration(seconds: float) -> str:
    """Return a duration in minutes and seconds, or in larger units from an hour on.

    >>> duration(42.4), duration(200), duration(7325), duration(200_000)
    ('42 s', '3 min 20 s', '2 h 2 min', '2 days 8 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{count(hours // 24, 'day')} {hours % 24} h"
