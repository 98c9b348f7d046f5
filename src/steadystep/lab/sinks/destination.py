"""The interface of what finished trials are written to."""

from dataclasses import dataclass
from typing import Protocol

from steadystep.lab.sinks.finished_run import FinishedRun


class Destination(Protocol):
    """A folder, project or server of an experiment tracker."""

    spec: str  # as given to --log
    instead: str  # what to do if the destination cannot be used

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What `written` and `write` raise if the destination cannot be used."""
        ...

    def written(self) -> set[str]:
        """Return the identities of the trials that have a complete run."""
        ...

    def write(self, run: FinishedRun) -> None:
        """Write a run. What an interrupted call has left of it is replaced."""
        ...


@dataclass(frozen=True)
class OpenDestination:
    """A destination that can be used, and the trials that it has."""

    destination: Destination
    written: set[str]
