"""Text that goes on from batch to batch, as truncated backpropagation through time reads it."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from steadystep.lab.tasks.task import Batch


@dataclass(frozen=True)
class Lanes:
    """Windows of one text, in its order; row b of every batch goes on where row b of the batch before it ended.

    A stream cuts the text into as many lanes of equal length as a batch has rows: row b of batch i is window i of lane
    b. Windows that fill no lane come last, as a batch of their own. With `parts`, epoch e reads part e mod `parts` of
    the text, so that so many epochs read it once.

    >>> text = torch.arange(6).view(6, 1)
    >>> [batch.x.flatten().tolist() for batch in Lanes(text, text + 1).stream(torch.arange(6), 2, 0)]
    [[0, 3], [1, 4], [2, 5]]
    """

    x: torch.Tensor  # (windows, length), int64
    y: torch.Tensor  # (windows, length), int64: the tokens that come next
    parts: int = 1

    def __len__(self) -> int:
        return len(self.y) // self.parts

    def stream(self, order: torch.Tensor, batch: int, epoch: int) -> Iterator[Batch]:
        """The batches with these numbers of rows, counted through all batches: rows that follow each other in `order`,
        from a multiple of `batch` on, make a batch."""
        lane = len(self) // batch
        begin = epoch % self.parts * len(self)
        for rows in order.split(batch):
            chosen = begin + torch.where(rows < lane * batch, rows % batch * lane + rows // batch, rows)
            yield Batch(self.x.index_select(0, chosen), self.y.index_select(0, chosen), chosen)
