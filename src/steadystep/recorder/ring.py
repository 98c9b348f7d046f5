"""The ring of records: one row of numbers for each of the last steps, in memory that is allocated once."""

import numpy as np

LOSS, APPLIED, SCALE, LR = range(4)
"""Columns of `Ring.numbers`; the learning rates of the groups begin at the last one."""

GRADIENT, LARGEST, UPDATE, WEIGHT = range(4)
"""Rows of what is measured of each tensor."""


class Ring:
    """Rows of numbers for the last steps, each a view into memory that the next rows use again.

    Attributes:
        numbers: (steps, 3 + groups), float64: loss, whether the step was applied, clip factor, learning rates.
        tensors: (steps, 4, tensors), float32: the norm and the largest element of the gradient, the norm of the update,
            and that of the parameter.
        end: the number of the coming step. The writer of its row increases it by 1.
    """

    def __init__(self, steps: int, groups: int, tensors: int, first: int = 0) -> None:
        self.numbers = np.full((steps, LR + groups), np.nan)
        self.tensors = np.full((steps, 4, tensors), np.nan, np.float32)
        self.steps, self._start, self.end = steps, first, first

    @property
    def first(self) -> int:
        """The oldest step that has a row."""
        return max(self._start, self.end - self.steps)

    def has(self, step: int) -> bool:
        """Return whether the row of a step is in the ring."""
        return self.first <= step < self.end

    def place(self, step: int) -> int:
        """Return the place of a step's row."""
        return step % self.steps

    def in_order(self) -> np.ndarray:
        """Return the places of all rows, the oldest first."""
        return np.arange(self.first, self.end) % self.steps
