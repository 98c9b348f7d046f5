"""The data of a task: batches, splits, and the three splits that a data set is divided into."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol

import torch
from typing_extensions import TypeVar


class Batch(NamedTuple):
    """Some examples of a split, with their indices in the split."""

    x: torch.Tensor
    y: torch.Tensor
    indices: torch.Tensor  # int64

    def to(self, device: torch.device) -> "Batch":
        """Copy the batch to a device."""
        return Batch(self.x.to(device), self.y.to(device), self.indices.to(device))

    def rows(self, rows: "Rows") -> "Batch":
        """Return the part of the batch that has these rows."""
        wanted = rows(len(self.indices))
        return Batch(self.x[wanted], self.y[wanted], self.indices[wanted])


Rows = Callable[[int], slice]
"""A function of the number of rows in a batch that returns which of them are wanted."""


def all_rows(count: int) -> slice:
    """Return all rows of a batch.

    >>> "abc"[all_rows(3)]
    'abc'
    """
    return slice(0, count)


class Split(Protocol):
    """One part of a task's data: examples in a fixed order, served in batches."""

    def __len__(self) -> int: ...

    def stream(self, order: torch.Tensor, batch: int, epoch: int, rows: Rows = all_rows) -> Iterator[Batch]:
        """Yield the examples at the indices in `order`, `batch` at a time; the last batch may be smaller.

        Only these `rows` of each batch are yielded, and the others need not be read. Batches and rows are the same
        whatever is wanted of them, so that several processes can share out a batch.

        An example may depend on the epoch, which is counted from 0, and on nothing else. A stream that is restarted in
        the middle of an epoch therefore continues exactly where the interrupted one stopped.
        """
        ...


@dataclass(frozen=True)
class Arrays:
    """A split held in memory: inputs as the model takes them, and their labels."""

    x: torch.Tensor  # (examples, ...)
    y: torch.Tensor  # (examples, ...); for classification (examples,), int64

    def __len__(self) -> int:
        return len(self.y)

    def stream(self, order: torch.Tensor, batch: int, epoch: int, rows: Rows = all_rows) -> Iterator[Batch]:
        """Yield these rows of the batches; see `Split.stream`."""
        for whole in order.split(batch):
            indices = whole[rows(len(whole))]
            yield Batch(self.x.index_select(0, indices), self.y.index_select(0, indices), indices)


S_co = TypeVar("S_co", bound=Split, default=Split, covariant=True)


@dataclass(frozen=True)
class Splits(Generic[S_co]):
    """The training, validation and test splits of a task; `fingerprint` identifies their content."""

    train: S_co
    val: S_co
    test: S_co
    fingerprint: str
