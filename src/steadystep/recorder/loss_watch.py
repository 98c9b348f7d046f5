"""Finds trouble in the losses of a run, but not in their noise."""

import math
from collections.abc import Sequence

import numpy as np

from steadystep.recorder.triggers import PLATEAU, RISE, SPIKE, Trigger

WINDOW = 128
"""Losses that a new one is compared with: their median, their spread, and the largest of them."""

BLOCK = 32
"""Losses between two looks at all of them; nothing but a runaway is noticed before the first look."""

Z = 6.0
"""Robust standard deviations above the median."""

PERSIST = 4
"""Losses in a row that must be too high: noise that is independent from batch to batch does not do that."""

LOST = 0.1
"""The share of what the loss has fallen so far that must be lost again."""

LOST_AFTER_RAISE = 0.5
"""The same while the learning rate has been raised lately, as in a warm-up or a restart."""

RAISED_FOR = 64
"""Steps for which a raise of the learning rate counts."""

RUNAWAY = 10.0
"""How many times the largest of the first losses a loss must be before there are enough of them to compare with."""

FIRST = 16
"""Losses that say where the run has begun."""

PLATEAU_STEPS = 256
"""Steps without any progress from the beginning on, not counting those of a warm-up."""

PROGRESS = 0.01
"""What counts as progress, as a share of the first losses."""


class LossWatch:
    """Looks at the losses one by one: most are compared with one number, and all are looked at every `BLOCK` losses."""

    def __init__(self) -> None:
        self._losses: list[float] = []  # the last ones, and at most a block more
        self._count = 0
        self._limit = np.inf
        self._over = 0  # losses in a row above the limit
        self._onset = 0
        self._start = self._start_spread = np.nan  # the median of the first losses and its spread
        self._best, self._best_spread = np.inf, 0.0  # of the best block so far
        self._lr_low, self._raised = np.inf, -RAISED_FOR  # the step at which the learning rate was raised last
        self._steady: list[float] = []  # the first losses at the full learning rate, until there is progress
        self._progressed = False

    @property
    def suspicious(self) -> bool:
        """Whether the last loss was too high."""
        return self._over > 0

    def rate(self, step: int, lr: float) -> None:
        """Note a learning rate that differs from that of the step before."""
        if lr > 1.5 * self._lr_low:
            self._raised, self._lr_low = step, lr
            self._steady.clear()
        elif lr < self._lr_low:
            self._lr_low = lr

    def add_ordinary(self, losses: list[float]) -> bool:
        """Add losses in a row if nothing is to be said of them and they are no reason to look at all; else add none."""
        count = self._count
        if count < FIRST or count % BLOCK + len(losses) >= BLOCK or self._over:
            return False
        if not (max(losses) < self._limit and math.isfinite(sum(losses))):
            return False
        self._losses += losses
        self._count = count + len(losses)
        return True

    def add(self, step: int, loss: float) -> Trigger | None:
        """Look at the finite loss of a step."""
        self._losses.append(loss)
        self._count = count = self._count + 1
        if loss < self._limit:
            self._over = 0
            return self._review(step) if not count % BLOCK or count == 3 or count == FIRST else None
        if not self._over:
            self._onset = step
        self._over += 1
        if self._over < PERSIST:
            return None
        return Trigger(SPIKE, self._onset, f"{loss:.4g}, and at most {self._limit:.4g} was to be expected")

    def _review(self, step: int) -> Trigger | None:
        count = self._count
        if count <= FIRST:
            first = self._losses
            if count == FIRST:
                self._start, self._start_spread = _middle(first)
            elif max(first) > 0:
                self._limit = RUNAWAY * max(first)
            return None
        losses = self._losses
        del losses[:-WINDOW]
        block, spread = _middle(losses[-BLOCK:])
        if block < self._best:
            self._best, self._best_spread = block, spread
        middle, spread = _middle(losses)
        largest = max(losses)
        share = LOST_AFTER_RAISE if step - self._raised < RAISED_FOR else LOST
        fallen = max(self._start - self._best, 0.0)
        self._limit = max(middle + Z * spread, largest, self._best + share * fallen, self._best + 0.1 * abs(self._best))
        return self._rises(step, block, fallen) or self._stalls(step)

    def _rises(self, step: int, block: float, fallen: float) -> Trigger | None:
        """Return whether the median of the last block is far above the best one, or above the start."""
        lost = self._best + max(0.5 * fallen, Z * self._best_spread, 0.5 * abs(self._start))
        above = self._start + max(0.5 * abs(self._start), Z * self._start_spread)
        if block > min(lost, above):
            return Trigger(RISE, step - BLOCK + 1, f"a median of {block:.4g} after one of {self._best:.4g}")
        return None

    def _stalls(self, step: int) -> Trigger | None:
        """Return whether there has been no progress since the learning rate was last raised, and it would be seen."""
        if self._progressed:
            return None
        self._steady += self._losses[-BLOCK:]
        losses, size = np.array(self._steady), abs(self._start)
        if self._best < self._start - PROGRESS * size:
            self._progressed = True
        if self._progressed or len(losses) < PLATEAU_STEPS:
            return None
        half = len(losses) // 2
        change = losses[half:].mean() - losses[:half].mean()
        error = 2.0 * losses.std() / len(losses) ** 0.5
        if error > 0.5 * PROGRESS * size or change < -error:
            self._progressed = len(losses) >= 2 * PLATEAU_STEPS  # too noisy to say, or falling
            return None
        return Trigger(PLATEAU, step, f"a median of {_middle(self._steady)[0]:.4g} after one of {self._start:.4g}")


def _middle(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and the median absolute deviation as a standard deviation, a little above 0."""
    half = len(values) // 2  # for so few numbers, Python's sort is faster than NumPy's calls
    middle = sorted(values)[half]
    deviations = sorted([abs(value - middle) for value in values])
    return middle, max(1.4826 * deviations[half], 1e-3 * abs(middle))
