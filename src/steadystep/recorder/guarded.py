"""The measurements of an optimizer that `guard` guards: its gradients by itself, and its update from a sample."""

from typing import Any

import numpy as np
import torch

from steadystep.recorder import after_step
from steadystep.recorder.foreign import ForeignMeasures
from steadystep.recorder.measures import Finished
from steadystep.recorder.own import COUNTS, LedgerCounts, as_slice
from steadystep.recorder.ring import Ring
from steadystep.step.errors import StepError


class GuardedMeasures(ForeignMeasures):
    """Copies what the guard has measured, and compares the parameters before and after the step inside."""

    optimizer: Any

    def __init__(self, optimizer: torch.optim.Optimizer, ring: Ring) -> None:
        super().__init__(optimizer, ring)
        self._counts = LedgerCounts(optimizer)
        self._moved: Any = None
        self._finished: Finished | None = None

    def attach(self, finished: Finished) -> None:
        """Begin to measure, and call `finished` after each step."""

        def before(*_: Any) -> None:
            self._before()

        def after(*_: Any) -> None:
            self._moved = self._sample.moved() if self._looked else None
            self._looked = False

        optimizer = self.optimizer
        self._hooks = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]
        self._finished = finished
        after_step.attach(optimizer, finished)

    def detach(self) -> None:
        """Stop measuring."""
        super().detach()
        after_step.detach(self.optimizer, self._finished)

    def record(self, place: int, error: BaseException | None) -> float | None:
        """Write the record of the last step; see `Measures.record`."""
        if not self._same_parameters():
            return None
        measured, peaks = self.optimizer._measured, self.optimizer._peaks
        if self.late is not None:
            return self._record_late(place, measured, peaks)
        applied, scale = self._counts.read()
        if isinstance(error, StepError) and error.norms:
            self.gradient[self.at], self.largest[self.at] = list(error.norms.values()), np.nan
        elif measured is not None and peaks is not None:
            at = self.at = as_slice(peaks[0])
            self.gradient[at], self.largest[at] = measured[1], peaks[1]
        moved, self._moved = self._moved, None
        self.update[:] = 0.0 if not applied else np.nan if moved is None else moved
        return self._write(place, applied, scale, knows_update=not applied or moved is not None)

    def _record_late(self, place: int, measured: Any, peaks: Any) -> float:
        """Send what the step has measured on its device."""
        if measured is not None and peaks is not None:
            self.at, self._on_the_way = as_slice(peaks[0]), (measured[1], peaks[1])
        moved, self._moved = self._moved, None
        ledger = self.optimizer.param_groups[0]["ledger"]
        return self._send(place, ledger[COUNTS], *self._on_the_way, self.update * np.nan if moved is None else moved)

    def _before(self) -> None:
        if not self._same_parameters():  # the record of the step will tell
            return
        if self.optimizer._measured is None:  # nothing clips and nothing refuses, or it is the first step
            self._measure()
        self._sample.look()
        self._looked = True
