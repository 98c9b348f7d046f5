"""Looks at every step for trouble: a cheap test of each number, and a thorough one of what fails it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from steadystep.recorder.loss_watch import LossWatch
from steadystep.recorder.ring import GRADIENT as GRADIENT_ROW
from steadystep.recorder.ring import LOSS as LOSS_COLUMN
from steadystep.recorder.ring import LR, Ring
from steadystep.recorder.ring import UPDATE as UPDATE_ROW
from steadystep.recorder.triggers import GRADIENT, LOSS, PARAMETER, REFUSED, SPIKE, UPDATE, Trigger
from steadystep.step.fields import AT
from steadystep.step.ledger import last_reason

_IN_A_ROW = AT["consecutive_skips"]

LARGE = 4.0
"""How many times the median an update must be to be the suspected beginning of a loss that rises."""

_REMEMBERED = 128
_AFTER = 8
"""Steps after a large update in which a rise of the loss is put down to it."""


class StepWatcher:
    """Finds trouble in the numbers of the steps, which are given in their order.

    Args:
        names: of the parameters.
        ring: the records of the steps.
    """

    def __init__(self, names: Sequence[str], ring: Ring) -> None:
        self._names, self._ring = names, ring
        self._losses = LossWatch()
        self._lr = math.nan
        self._sizes: list[float] = []  # squared
        self._counted = 0  # of them, for the limit
        self._limit = math.inf
        self._large = -_AFTER - 1  # the step of the last large update

    @property
    def suspicious(self) -> bool:
        """Whether the last loss was out of the ordinary."""
        return self._losses.suspicious

    def losses(self, losses: Sequence[tuple[int, float]]) -> Trigger | None:
        """Record the losses of some steps, and return the first trouble among them."""
        rows, size = self._ring.numbers, self._ring.steps
        for step, loss in losses:
            rows[step % size, LOSS_COLUMN] = math.inf if loss != loss else loss  # NaN stands for what was not given
        if self._losses.add_ordinary([loss for _, loss in losses]):
            return None
        found = [self.loss(step, loss) for step, loss in losses]
        return next((trigger for trigger in found if trigger is not None), None)

    def loss(self, step: int, loss: float) -> Trigger | None:
        """Look at the loss of a step."""
        if not math.isfinite(loss):
            return Trigger(LOSS, step, str(loss))
        found = self._losses.add(step, loss)
        if found is not None and found.kind == SPIKE and 0 <= found.step - self._large <= _AFTER:
            return replace(found, kind=UPDATE, step=self._large)
        return found

    def steps(self, first: int, squares: Sequence[float]) -> None:
        """Look at the records of steps in a row that were applied and are finite.

        Args:
            first: the number of the first one.
            squares: the squared norms of their whole updates.
        """
        rows, size, limit = self._ring.numbers, self._ring.steps, self._limit
        for step, square in enumerate(squares, first):
            lr = rows.item(step % size, LR)
            if lr != self._lr:
                self._lr = lr
                self._losses.rate(step, lr)
            if square > limit and step - self._large > _AFTER:
                self._large = step
        sizes = self._sizes
        sizes += squares
        if len(sizes) - self._counted >= 32:
            del sizes[:-_REMEMBERED]
            self._counted = len(sizes)
            self._limit = LARGE**2 * sorted(sizes)[len(sizes) // 2]

    def unusual(self, step: int, squares: float, error: BaseException | None, group: dict[str, Any]) -> Trigger | None:
        """Look at the record of any other step.

        Args:
            step: its number.
            squares: what `Measures.record` has returned.
            error: the error of a step that has failed.
            group: the first parameter group.
        """
        if error is not None:
            return Trigger(REFUSED, step, str(error).split(";")[0])
        return self._refused(step, group.get("ledger")) if squares < 0.0 else self._not_finite(step)

    def _refused(self, step: int, ledger: Any) -> Trigger | None:
        if ledger is None or not ledger[_IN_A_ROW]:
            return None  # a GradScaler looks for its scale, or no parameter had a gradient
        reason = last_reason(ledger.tolist())
        if reason == "outlier":  # as a clipper was asked to
            return None
        names = self._infinite(step, GRADIENT_ROW)
        return Trigger(REFUSED, step, f"{reason}: {names}" if names else reason)

    def _not_finite(self, step: int) -> Trigger | None:
        for kind, row in ((GRADIENT, GRADIENT_ROW), (PARAMETER, UPDATE_ROW)):
            names = self._infinite(step, row)
            if names:
                return Trigger(kind, step, names)
        return None

    def _infinite(self, step: int, row: int) -> str:
        norms = self._ring.tensors[self._ring.place(step), row]
        return ", ".join(self._names[place] for place in np.flatnonzero(np.isinf(norms)).tolist())
