"""The processes that train one trial together, each on its rows of every batch."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from steadystep.lab.system.torchrun import place
from steadystep.lab.training.synced_batch_norm import SyncedBatchNorm

_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")  # the second one is deprecated since torch 2.13
    if name in signature(DistributedDataParallel.__init__).parameters
)


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that train a trial together.

    The batch and its order are those of one process, and so is the mean over it: each process computes the loss of its
    rows, weighted by their number, and batch norm takes its statistics from all rows. The numbers of a trial therefore
    differ by rounding from those of one process. Every method that communicates is called by all processes at the same
    point.
    """

    rank: int = 0
    size: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is only this process."""
        return self.size == 1

    def rows(self, count: int) -> slice:
        """Return this process's rows of a batch of `count` rows: an equal share, or one row more.

        >>> [range(5)[Ranks(rank, 2).rows(5)] for rank in range(2)]
        [range(0, 2), range(2, 5)]
        """
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def share_of(self, count: int) -> float:
        """Return the factor of this process's mean loss, so that the mean over all processes is that over all rows."""
        rows = self.rows(count)
        return self.size * (rows.stop - rows.start) / count

    def data_parallel(self, model: nn.Module, batch_size: int) -> nn.Module:
        """Return what computes the outputs of a model so that `backward` averages the gradients over all processes."""
        if self.alone:
            return model
        for module in model.modules():
            if hasattr(module, "whole_batch"):
                setattr(module, "whole_batch", batch_size)  # noqa: B010 - a number, which nn.Module does not declare
        sync_buffers: Any = {_SYNC_BUFFERS: False}
        return DistributedDataParallel(model, **sync_buffers)

    def forward(self) -> AbstractContextManager[object]:
        """Return the context in which outputs are computed for training."""
        return nullcontext() if self.alone else SyncedBatchNorm()

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each value over all processes."""
        if self.alone:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def mean(self, value: float) -> float:
        """Return the mean of a value over all processes."""
        return value if self.alone else self.sum([value])[0] / self.size

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Return for each flag whether it is true in any process."""
        return list(flags) if self.alone else [total > 0 for total in self.sum([float(flag) for flag in flags])]

    def same(self, text: str) -> str:
        """Return the text of rank 0."""
        if self.alone:
            return text
        box = [text]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def joined(self, rows: torch.Tensor, dim: int) -> torch.Tensor:
        """Return the rows of all processes, along a dimension in which each has its own."""
        if self.alone:
            return rows
        parts: list[torch.Tensor] = [torch.empty(0)] * self.size
        dist.all_gather_object(parts, rows.cpu())
        return torch.cat(parts, dim)


ALONE = Ranks()
"""One process that trains a trial by itself."""


def this_rank() -> Ranks:
    """Return the place of this process among those that torchrun started."""
    found = place()
    return Ranks(found.rank, found.size) if found else ALONE
