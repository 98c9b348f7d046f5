"""The definition of a generated problem: how its sequences are drawn, and what their targets are."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

TOLERANCE = 0.04
"""A predicted number is correct if its absolute error is below this: Hochreiter & Schmidhuber (1997)."""


class Sequences(NamedTuple):
    """Generated examples. Symbols are non-negative integers."""

    x: np.ndarray  # (examples, steps, channels) float32, or (examples, steps) uint8 symbols
    y: np.ndarray  # (examples,) float32 or int64 class, or (examples, read) int64 classes


Draw = Callable[[np.random.RandomState, int, int], Sequences]
"""A function of a random state, a number of examples and the problem's length T that returns the examples."""


@dataclass(frozen=True)
class Problem:
    """A family of sequences of any length.

    Attributes:
        name: The name in tasks and commands.
        title: The name as shown to people.
        draw: Draws examples.
        shortest: The smallest length T for which the problem is defined.
        inputs: The size of an input vector: the number of channels, or of symbols.
        outputs: The number of classes; 1 means that the target is a number.
        read: The number of last steps that have a target.
        guess: A guess that knows the distribution is correct with a probability of about 1 / guess.
        variance: The variance of a target that is a number, which is the loss of its mean.
    """

    name: str
    title: str
    draw: Draw
    shortest: int
    inputs: int
    outputs: int
    guess: int
    read: int = 1
    variance: float = 0.0

    @property
    def guess_loss(self) -> float:
        """The loss of a guess that does not look at the sequence."""
        return self.variance if self.outputs == 1 else math.log(self.outputs)

    def loss(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error for numbers, or the mean cross-entropy for classes."""
        if self.outputs == 1:
            return functional.mse_loss(outputs.squeeze(1), y)
        return functional.cross_entropy(outputs, y)

    def correct(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return one boolean per label: whether its whole sequence is correct.

        >>> from steadystep.lab.tasks.sequences import PROBLEMS
        >>> PROBLEMS["addition"].correct(torch.tensor([[0.50], [0.50]]), torch.tensor([0.53, 0.55])).tolist()
        [True, False]
        """
        if self.outputs == 1:
            return (outputs.squeeze(1) - y).abs() < TOLERANCE
        correct = outputs.argmax(1) == y
        return correct if self.read == 1 else correct.all(1, keepdim=True).expand_as(correct)


def random_positions(random: np.random.RandomState, first: int, end: int, examples: int) -> np.ndarray:
    """Draw uniform integers from `first` up to, but not including, `end`; `first` if that range is empty."""
    return random.randint(first, max(end, first + 1), examples)
