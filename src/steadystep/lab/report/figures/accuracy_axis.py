"""An accuracy axis that is logarithmic in the error: 99.0 to 99.5% is as wide as 90 to 95%."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from steadystep.lab.report.figures.log_ticks import log_ticks

WORST = 1.02
"""The error at which the axis ends at the latest: a little below an accuracy of 0%, so that a point there is whole."""


class AccuracyAxis:
    """An axis that maps accuracies, fractions of 1, to positions; its range contains `accuracies`.

    >>> axis = AccuracyAxis([0.5, 0.94, 0.99])
    >>> axis.layout("accuracy")["ticktext"]
    ['99%', '97%', '90%', '70%']
    """

    def __init__(self, accuracies: Iterable[float]) -> None:
        errors = [1 - accuracy for accuracy in accuracies if math.isfinite(accuracy)]
        # An error of 0 has no logarithm: it is drawn at half of the smallest other error.
        self._floor = min((error for error in errors if error > 1e-9), default=0.01) / 2
        places = [min(max(error, self._floor), 1.0) for error in errors] or [0.01, 1.0]
        pad = max(1.06, (max(places) / min(places)) ** 0.05)
        self._low, self._high = min(places) / pad, min(max(places) * pad, WORST)

    def place(self, accuracy: float) -> float:
        """Return the position of an accuracy."""
        return max(1 - accuracy, self._floor)

    def places(self, accuracies: Sequence[float | None]) -> list[float | None]:
        """Return the position of each accuracy; None stays None."""
        return [None if accuracy is None else self.place(accuracy) for accuracy in accuracies]

    def layout(self, title: str) -> dict[str, Any]:
        """Return the Plotly layout of the axis, with higher accuracies above."""
        ticks = log_ticks(self._low, min(self._high, 1.0))
        return {
            "title": f"{title} (log of error)",
            "type": "log",
            "range": [math.log10(self._high), math.log10(self._low)],
            "tickvals": ticks,
            "ticktext": [f"{100 * (1 - error):.6g}%" for error in ticks],
        }
