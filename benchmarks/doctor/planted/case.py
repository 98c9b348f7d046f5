"""A planted failure: a program with one fault, and what a diagnosis must say of it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from benchmarks.doctor.run import Run, finite, train

CULPRITS = (
    "batch",
    "forward-op",
    "backward-op",
    "range",
    "optimizer-precision",
    "optimizer-state",
    "learning-rate",
    "outlier-gradient",
    "clip-order",
    "accumulation",
    "initialisation",
    "wrong-loss",
    "transient",
)
HELD_OUT = ("digits_convnet", "lstm_ctc", "language_model", "autoencoder")
"""The programs that the doctor is not tuned on; the others are digits_mlp, sequence_gru, ..."""

FIRST, LAST = 20, 90
"""A fault that has a step is planted at a random one of these."""

Sees = Literal["not finite", "spike", "stall"]


class Make(Protocol):
    def __call__(self, seed: int, sound: bool = False) -> Run:
        """Build the run with its fault, or the same run with the fault mended."""
        ...


@dataclass(frozen=True)
class Planted:
    """A failure planted in a program."""

    name: str
    culprit: str
    program: str
    make: Make
    places: Callable[[int], tuple[str, ...]]
    """What an expert may call the place, for a seed: the diagnosis' place must contain one of them."""
    sees: Sees
    """What somebody sees first, at most seeds, who watches the loss and the parameters."""

    @property
    def held_out(self) -> bool:
        return self.program in HELD_OUT


def drawn(name: str, seed: int) -> random.Random:
    """Return the generator from which a case draws its place and step."""
    return random.Random(f"{name} {seed}")


@dataclass(frozen=True)
class Trouble:
    """What was seen first, and the losses up to there."""

    sees: Sees | None
    step: int
    losses: list[float]


SPIKE = 3.0
"""A loss this many times the largest of the 20 before it, and twice the first, is a spike."""
RISE = 2.0
"""A mean of 20 losses this many times the lowest such mean, and above half of the first losses, is one too."""


def watch(run: Run, steps: int = 300) -> Trouble:
    """Train a run until somebody who watches it would stop it; a stall is seen only beside a sound run."""
    losses: list[float] = []
    lowest = float("inf")
    for step, loss in enumerate(train(run, steps)):
        losses.append(loss)
        if not finite(run, loss):
            return Trouble("not finite", step, losses)
        recent = losses[-21:-1]
        if recent and abs(loss) > SPIKE * max(map(abs, recent)) and abs(loss) > 2 * abs(losses[0]):
            return Trouble("spike", step, losses)
        if len(losses) >= 20:
            now = mean(losses[-20:])
            lowest = min(lowest, now)
            if now > RISE * abs(lowest) and now > 0.5 * abs(mean(losses[:5])):
                return Trouble("spike", step, losses)
    return Trouble(None, steps, losses)


def learns(losses: list[float]) -> bool:
    """Return whether the last losses are well below the first."""
    return mean(losses[-30:]) < mean(losses[:5]) - 0.3 * abs(mean(losses[:5]))


def stalls(losses: list[float], sound: list[float]) -> bool:
    """Return whether the last losses are far above those of the sound run."""
    return mean(losses[-30:]) > 1.5 * mean(sound[-30:])


def mean(values: list[float]) -> float:
    return sum(values) / len(values)
