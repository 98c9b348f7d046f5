"""A split of generated sequences that are new in every epoch."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from steadystep.lab.tasks.sequences.problem import Problem
from steadystep.lab.tasks.splits import Arrays, Batch, Rows, all_rows

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class FreshSequences:
    """Generated examples, each of which depends only on the part, its index and the epoch.

    Every part and every epoch has a separate random stream, so a sequence is repeated only by chance.

    >>> from steadystep.lab.tasks.sequences import PROBLEMS
    >>> train = FreshSequences(PROBLEMS["temporal-order"], length=10, part="train", examples=40)
    >>> [batch.x.shape for batch in train.stream(torch.arange(40), 20, epoch=3)]
    [torch.Size([20, 10, 6]), torch.Size([20, 10, 6])]
    """

    problem: Problem
    length: int
    part: Literal["train", "val", "test"]
    examples: int

    def __len__(self) -> int:
        return self.examples

    def stream(self, order: torch.Tensor, batch: int, epoch: int, rows: Rows = all_rows) -> Iterator[Batch]:
        """Yield these rows of the batches; see `Split.stream`."""
        for x, y, indices in draw_epoch(self, epoch).stream(order, batch, epoch, rows):
            # Symbols are stored as bytes and encoded per batch: one-hot vectors of a whole epoch take far more memory.
            yield Batch(x if x.is_floating_point() else _one_hot(x, self.problem.inputs), y, indices)


@lru_cache(maxsize=4)  # enough for the current training epoch and the validation and test splits
def draw_epoch(split: FreshSequences, epoch: int) -> Arrays:
    """Draw all examples of an epoch; symbols are stored as bytes."""
    # The streams of RandomState are frozen; those of default_rng may change between versions of NumPy.
    random = np.random.RandomState([PARTS.index(split.part), epoch])
    x, y = split.problem.draw(random, split.examples, split.length)
    return Arrays(torch.from_numpy(x), torch.from_numpy(y))


def _one_hot(symbols: torch.Tensor, count: int) -> torch.Tensor:
    return functional.one_hot(symbols.long(), count).float()
