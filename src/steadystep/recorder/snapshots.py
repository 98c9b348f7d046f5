"""Snapshots of a run, two in turn, each in the memory of the one before the last."""

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from steadystep.recorder.recording import Snapshot
from steadystep.recorder.state import bytes_of, take

SHARE = 0.002
"""The share of the time of all steps that snapshots may take."""


class Snapshots:
    """Takes snapshots as often as they take a small share of the time of the steps.

    Args:
        model: the model.
        optimizer: the optimizer.
        others: what else has a `state_dict`, by name.
        max_bytes: the most that all snapshots together may take.
        every: take one each so many steps, or None for as often as is cheap.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        others: Mapping[str, Any],
        max_bytes: int,
        every: int | None,
    ) -> None:
        self._run = model, optimizer, others
        self._max_bytes, self._every = max_bytes, every
        self._held: list[Snapshot] = []
        self._seconds = 0.0
        self._bytes = 0
        self.next = 0
        self.too_large = 0  # the bytes of a snapshot that is too large to be taken

    def held(self) -> tuple[Snapshot, ...]:
        """Return the snapshots, the oldest first."""
        return tuple(self._held)

    @property
    def nbytes(self) -> int:
        """The memory that the snapshots take."""
        return self._bytes * len(self._held)

    def take(self, step: int, step_seconds: float) -> float:
        """Take a snapshot before a step if it is time, and return how many seconds that took.

        Args:
            step: the number of the step that comes.
            step_seconds: how long a step takes.
        """
        if self._every is None and self._held and self._is_early(step, step_seconds):
            return 0.0
        if len(self._held) < 2:  # the state of the optimizer has its full size from the second snapshot on
            self._bytes = bytes_of(*self._run)
        allowed = min(2, self._max_bytes // max(self._bytes, 1))
        if not allowed:
            self.too_large, self.next = self._bytes, step + 1024
            return 0.0
        started = time.perf_counter()
        into = self._held.pop(0).state if len(self._held) >= allowed else None
        self._held.append(Snapshot(step, take(*self._run, into=into)))
        self._seconds = time.perf_counter() - started
        self.next = step + (self._every or 1)
        return self._seconds

    def _is_early(self, step: int, step_seconds: float) -> bool:
        """Return whether the last snapshot is so recent that another one would be dear; note when it will not be."""
        due = self._held[-1].step + int(self._seconds / (SHARE * max(step_seconds, 1e-7))) + 1
        if step >= due:
            return False
        self.next = min(due, 2 * step + 4)  # the time of a step is not known well in the beginning
        return True
