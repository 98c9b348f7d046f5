"""How long each of several runs took that are trained side by side."""

import time
from collections.abc import Mapping, Sequence
from typing import Any


class SharedClock:
    """Shares the time that passes among the runs that are there."""

    def __init__(self) -> None:
        self._read = time.monotonic()
        self._share = 0.0  # of each that still runs
        self._left: dict[str, float] = {}  # the shares of those that left

    def seconds(self, trial: str, running: int) -> float:
        self._advance(running)
        return self._left.get(trial, self._share)

    def leave(self, trials: Sequence[str], running: int) -> None:
        self._advance(running)
        self._left |= dict.fromkeys(trials, self._share)

    def state(self, running: int) -> dict[str, Any]:
        self._advance(running)
        return {"share": self._share, "left": self._left}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._share, self._left = self._share + state["share"], state["left"]

    def _advance(self, running: int) -> None:
        now = time.monotonic()
        self._share += (now - self._read) / max(running, 1)
        self._read = now
