"""How long a step takes, without what is left out."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

FORGET = 0.3
"""The weight of the steps since the last look in the mean."""


class StepClock:
    """Estimates the seconds of a step from looks at the clock between which several steps were taken.

    Attributes:
        seconds: of a step, 0 before the first look.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._step, self._looks = 0, 0
        self._since = perf_counter()

    def look(self, step: int) -> None:
        """Look at the clock after so many steps; the first steps, which are slow, are soon forgotten."""
        if step == self._step:
            return
        now = perf_counter()
        took = (now - self._since) / (step - self._step)
        self.seconds = took if self._looks < 2 else self.seconds + FORGET * (took - self.seconds)
        self._step, self._since, self._looks = step, now, self._looks + 1

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Do not count the time that this takes."""
        started = perf_counter()
        yield
        self._since += perf_counter() - started
