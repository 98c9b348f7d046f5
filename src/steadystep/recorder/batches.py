"""The last batches of a run, by reference."""

from typing import Any


class LastBatches:
    """Keeps the batch of each of the last steps; the caller's objects, not copies.

    Args:
        keep: how many batches are kept.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._held: dict[int, Any] = {}
        self._first = 0
        self.most_per_step, self._of_step = 0, 0
        self.frozen = False

    def add(self, step: int, batch: Any) -> bool:
        """Keep the batch of a step, and return whether it is the first of this step; the last one counts."""
        first = step not in self._held
        self._held[step] = batch
        self._of_step = 1 if first else self._of_step + 1
        self.most_per_step = max(self.most_per_step, self._of_step)
        if first and not self.frozen:
            while len(self._held) > self._keep:
                self._held.pop(next(iter(self._held)))
        return first

    def held(self) -> dict[int, Any]:
        """Return the batches by the numbers of their steps, the oldest first."""
        return dict(self._held)
