"""A split whose sequences are drawn anew in every epoch."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from steadystep.lab.tasks.sequences.problem import Problem
from steadystep.lab.tasks.task import Arrays, Batch

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Fresh:
    """Generated examples: what each is follows from the part, its place and the epoch alone.

    Every part has a random stream of its own, and every epoch of it another: no sequence comes twice but by chance.

    >>> from steadystep.lab.tasks.sequences import PROBLEMS
    >>> train = Fresh(PROBLEMS["temporal-order"], length=10, part="train", examples=40)
    >>> [batch.x.shape for batch in train.stream(torch.arange(40), 20, epoch=3)]
    [torch.Size([20, 10, 6]), torch.Size([20, 10, 6])]
    """

    problem: Problem
    length: int
    part: Literal["train", "val", "test"]
    examples: int

    def __len__(self) -> int:
        return self.examples

    def stream(self, order: torch.Tensor, batch: int, epoch: int) -> Iterator[Batch]:
        """The batches of the examples at these places, in this order; the last may be smaller."""
        for x, y, chosen in drawn(self, epoch).stream(order, batch, epoch):
            # Symbols are kept as bytes: all at once, as vectors, they would take the room of a hundred.
            yield Batch(x if x.is_floating_point() else _one_hot(x, self.problem.inputs), y, chosen)


@lru_cache(maxsize=4)  # the epoch that is being trained on, and the two parts that it is judged by
def drawn(split: Fresh, epoch: int) -> Arrays:
    """All examples of an epoch, symbols as bytes."""
    # RandomState's streams are frozen; those of default_rng may change between versions of NumPy.
    random = np.random.RandomState([PARTS.index(split.part), epoch])
    x, y = split.problem.draw(random, split.examples, split.length)
    return Arrays(torch.from_numpy(x), torch.from_numpy(y))


def _one_hot(symbols: torch.Tensor, count: int) -> torch.Tensor:
    return functional.one_hot(symbols.long(), count).float()
