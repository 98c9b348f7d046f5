"""The interface through which a running study reports its progress."""

from collections.abc import Mapping
from typing import Protocol

from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial


class Observer(Protocol):
    """Receives the events of a study, in the parent process.

    A trial that already has a record causes `trial_finished` only, without `trial_started`.
    """

    def stage_started(self, name: str, total_trials: int, total_steps: int) -> None:
        """Handle the start of a stage; the totals include trials that already have records."""

    def study_extended(self, epochs: int) -> None:
        """Handle that a study has so many more epochs than was planned, because pairs of its arms are undecided."""

    def trial_started(self, trial: Trial) -> None:
        """Handle the start of a trial."""

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Handle the end of an epoch, counted from 1; metrics: train_loss, val_loss, val_accuracy."""

    def trial_finished(self, record: Record) -> None:
        """Handle the end of a trial."""

    def warning(self, text: str) -> None:
        """Handle a one-line warning about a problem that was fixed automatically, such as a damaged record."""


class Silent:
    """An observer that ignores all events."""

    def stage_started(self, name: str, total_trials: int, total_steps: int) -> None:
        """Do nothing."""

    def study_extended(self, epochs: int) -> None:
        """Do nothing."""

    def trial_started(self, trial: Trial) -> None:
        """Do nothing."""

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def trial_finished(self, record: Record) -> None:
        """Do nothing."""

    def warning(self, text: str) -> None:
        """Do nothing."""
