"""Measure the time of each run when several are trained side by side."""

import time
from collections.abc import Mapping, Sequence
from typing import Any


class SharedClock:
    """A clock that divides elapsed time equally among the runs that are still training."""

    def __init__(self) -> None:
        self._last_reading = time.monotonic()
        self._share = 0.0  # seconds of each run that is still training
        self._final: dict[str, float] = {}  # seconds of the runs that were removed, by their trials' ids

    def seconds(self, trial: str, running: int) -> float:
        """Return the time of a run in seconds, given its trial's id and the number of runs that are training."""
        self._advance(running)
        return self._final.get(trial, self._share)

    def remove(self, trials: Sequence[str], running: int) -> None:
        """Stop the clock of some runs; `running` counts the runs that were training until now."""
        self._advance(running)
        self._final |= dict.fromkeys(trials, self._share)

    def state(self, running: int) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        self._advance(running)
        return {"share": self._share, "left": self._final}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Add the time stored in a checkpoint to the time that has passed since this clock was created."""
        self._share, self._final = self._share + state["share"], state["left"]

    def _advance(self, running: int) -> None:
        now = time.monotonic()
        self._share += (now - self._last_reading) / max(running, 1)
        self._last_reading = now
