"""What a generated problem is: how its sequences are drawn, and what of them is to be told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

TOLERANCE = 0.04
"""A predicted number is right if it is less than this from the true one: Hochreiter & Schmidhuber (1997)."""


class Sequences(NamedTuple):
    """Drawn examples. Symbols are whole numbers from 0 up."""

    x: np.ndarray  # (examples, steps, channels) float32, or (examples, steps) uint8 symbols
    y: np.ndarray  # (examples,) float32 or int64 class, or (examples, read) int64 classes


Draw = Callable[[np.random.RandomState, int, int], Sequences]
"""From a random state, a number of examples and the problem's length T to that many examples."""


@dataclass(frozen=True)
class Problem:
    """A family of sequences of any length.

    Attributes:
        name: what tasks and commands call it.
        title: what a person would call it.
        draw: draws examples.
        shortest: the least length T that its definition allows.
        inputs: size of an input vector: channels, or as many as there are symbols.
        outputs: how many classes; 1: a number is to be told.
        read: how many of the last steps have an output.
        guess: a guess that knows the distribution is right once in so many, rounded.
    """

    name: str
    title: str
    draw: Draw
    shortest: int
    inputs: int
    outputs: int
    guess: int
    read: int = 1

    def loss(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Squared error of a number, cross-entropy of classes: means over all labels."""
        if self.outputs == 1:
            return functional.mse_loss(outputs.squeeze(1), y)
        return functional.cross_entropy(outputs, y)

    def correct(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """One boolean a label: whether its sequence is right, in every one of its labels.

        >>> from steadystep.lab.tasks.sequences import PROBLEMS
        >>> PROBLEMS["addition"].correct(torch.tensor([[0.50], [0.50]]), torch.tensor([0.53, 0.55])).tolist()
        [True, False]
        """
        if self.outputs == 1:
            return (outputs.squeeze(1) - y).abs() < TOLERANCE
        right = outputs.argmax(1) == y
        return right if self.read == 1 else right.all(1, keepdim=True).expand_as(right)


def between(random: np.random.RandomState, first: int, end: int, examples: int) -> np.ndarray:
    """Uniform whole numbers from `first` up to, not including, `end`; `first` itself where that range is empty."""
    return random.randint(first, max(end, first + 1), examples)
