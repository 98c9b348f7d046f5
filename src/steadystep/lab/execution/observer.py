"""What a study tells about itself while it runs."""

from collections.abc import Mapping
from typing import Protocol

from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial


class Observer(Protocol):
    """Told, in the parent process, what happens. Trials that are on record already are only finished, not started."""

    def stage_started(self, name: str, total_trials: int, total_steps: int) -> None:
        """A stage begins; the totals count what is on record already."""

    def trial_started(self, trial: Trial) -> None: ...

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """An epoch is finished, the first is 1; metrics: train_loss, val_loss, val_accuracy."""

    def trial_finished(self, record: Record) -> None: ...

    def warning(self, text: str) -> None:
        """One line about something that was put right without help, such as a damaged record."""


class Silent:
    """Hears everything, says nothing."""

    def stage_started(self, name: str, total_trials: int, total_steps: int) -> None:
        pass

    def trial_started(self, trial: Trial) -> None:
        pass

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        pass

    def trial_finished(self, record: Record) -> None:
        pass

    def warning(self, text: str) -> None:
        pass
