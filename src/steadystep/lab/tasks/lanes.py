"""A split of one long text that continues from batch to batch, for truncated backpropagation through time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from steadystep.lab.tasks.splits import Batch, Rows, all_rows


@dataclass(frozen=True)
class Lanes:
    """Consecutive windows of one text; row b of every batch continues where row b of the previous batch ended.

    A stream cuts the text into lanes of equal length, one for each row of a batch: row b of batch i is window i of lane
    b. Windows that do not fill a lane come last, as a separate batch. If there are several `parts`, epoch e reads part
    e mod `parts` of the text, so that `parts` epochs read the whole text once.

    >>> text = torch.arange(6).view(6, 1)
    >>> [batch.x.flatten().tolist() for batch in Lanes(text, text + 1).stream(torch.arange(6), 2, 0)]
    [[0, 3], [1, 4], [2, 5]]
    """

    x: torch.Tensor  # (windows, length), int64
    y: torch.Tensor  # (windows, length), int64: the next tokens
    parts: int = 1

    def __len__(self) -> int:
        return len(self.y) // self.parts

    def stream(self, order: torch.Tensor, batch: int, epoch: int, rows: Rows = all_rows) -> Iterator[Batch]:
        """Yield these rows of the batches; see `Split.stream`.

        Row r of an epoch is row r mod `batch` of batch r // `batch`. Rows continue from batch to batch if `order` is a
        range of consecutive numbers that starts at a multiple of `batch`.
        """
        lane = len(self) // batch
        begin = epoch % self.parts * len(self)
        for whole in order.split(batch):
            wanted = whole[rows(len(whole))]
            in_lanes = wanted % batch * lane + wanted // batch
            indices = begin + torch.where(wanted < lane * batch, in_lanes, wanted)
            yield Batch(self.x.index_select(0, indices), self.y.index_select(0, indices), indices)
