"""The last batches of a run, by reference."""

from typing import Any


class LastBatches:
    """Keeps the batch of each of the last steps; the caller's objects, not copies.

    Args:
        keep: how many batches are kept.

    Attributes:
        places: steps with their batches; that of a step is at its number modulo their number.
    """

    def __init__(self, keep: int) -> None:
        self.places: list[tuple[int, Any] | None] = [None] * keep
        self.most_per_step, self._step, self._of_step = 0, -1, 1

    def given(self, step: int) -> int:
        """Return how many batches have been given for a step that has at least one."""
        return self._of_step if step == self._step else 1

    def is_last(self, step: int, batch: Any) -> bool:
        """Return whether it is the batch that is kept of a step, given again."""
        held = self.places[step % len(self.places)]
        return held is not None and held[0] == step and held[1] is batch

    def again(self, step: int, batch: Any, keep: bool = False) -> None:
        """Keep a further batch of a step in place of the one before, which stays if `keep` says so."""
        self._of_step = self.given(step) + 1
        self._step = step
        self.most_per_step = max(self.most_per_step, self._of_step)
        if not keep:
            self.places[step % len(self.places)] = step, batch

    def keep_all(self, more: int) -> None:
        """Keep those that are held, and as many more."""
        held = self.held()
        self.places = [None] * (len(self.places) + more)
        for step, batch in held.items():
            self.places[step % len(self.places)] = step, batch

    def held(self) -> dict[int, Any]:
        """Return the batches by the numbers of their steps, the oldest first."""
        return dict(sorted((each for each in self.places if each is not None), key=lambda each: each[0]))
