"""An observer that writes each trial to experiment trackers when it is finished."""

from collections.abc import Sequence

from steadystep.lab.execution.observer import Observer
from steadystep.lab.sinks.choose import first_sentence
from steadystep.lab.sinks.destination import OpenDestination
from steadystep.lab.sinks.finished_run import finished_run
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.training.record import Record


class Logged:
    """Forwards all events to another observer, and writes finished trials to the destinations that lack them.

    Trials are written from their records, so that an interrupted study leaves no half curves, and one that is resumed,
    or that was run without trackers, is written in full. A destination that fails is left out from then on, with a
    warning; the study goes on.
    """

    def __init__(self, observer: Observer, destinations: Sequence[OpenDestination], arms: Sequence[Arm]) -> None:
        self._arms = arms
        self._open = list(destinations)
        self.stage_started, self.trial_started = observer.stage_started, observer.trial_started
        self.trial_progress, self.warning = observer.trial_progress, observer.warning
        self.study_extended = observer.study_extended
        self._observer = observer

    def trial_finished(self, record: Record) -> None:
        """Write the trial to the destinations that do not have it."""
        self._observer.trial_finished(record)
        for place in list(self._open):
            destination = place.destination
            if record.trial.id in place.written:
                continue
            try:
                destination.write(finished_run(record, self._arms))
            except destination.errors as error:
                self._open.remove(place)
                self.warning(
                    f"--log {destination.spec}: {first_sentence(error)}; no more trials are written there: run "
                    "the same command again to write those that are missing"
                )
            else:
                place.written.add(record.trial.id)
