"""An observer that forwards all events and keeps the records."""

from collections.abc import Callable

from steadystep.lab.execution.observer import Observer
from steadystep.lab.training.record import Record


class Collector:
    """An observer that forwards all events to another one and collects the records."""

    def __init__(self, observer: Observer) -> None:
        self.records: dict[str, Record] = {}
        self._observer = observer
        self.stage_started: Callable[..., None] = observer.stage_started
        self.study_extended: Callable[..., None] = observer.study_extended
        self.trial_started: Callable[..., None] = observer.trial_started
        self.trial_progress: Callable[..., None] = observer.trial_progress
        self.warning: Callable[..., None] = observer.warning

    def trial_finished(self, record: Record) -> None:
        """Keep the record and forward it."""
        self.records[record.trial.id] = record
        self._observer.trial_finished(record)
