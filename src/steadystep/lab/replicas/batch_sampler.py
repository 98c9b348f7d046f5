"""Sample the batches of replicas. Each replica sees the examples that its trial would see when trained alone."""

from collections.abc import Iterator, Sequence

import torch

from steadystep.lab.replicas.workspace import Workspace
from steadystep.lab.tasks.splits import Arrays, Batch, Split
from steadystep.lab.training.seeds import epoch_order


class BatchSampler:
    """The batches of several replicas. Each epoch has a new data order, which depends only on the seed and the epoch.

    Replicas are addressed by their row.

    Attributes:
        arrays: the split, if it is held in memory; else None.
        batch_size: number of examples per replica and step.
        steps_per_epoch: number of complete batches; the last, incomplete batch is dropped.
    """

    def __init__(self, split: Split, batch_size: int, seeds: Sequence[int]) -> None:
        self._split, self._seeds = split, list(seeds)
        self.arrays = split if isinstance(split, Arrays) else None
        self.batch_size = min(batch_size, len(split))
        self.steps_per_epoch = len(split) // self.batch_size
        self._orders: dict[int, torch.Tensor] = {}  # epoch -> (replicas, examples)

    def select(self, rows: Sequence[int]) -> None:
        """Keep only these replicas."""
        self._seeds = [self._seeds[row] for row in rows]
        self._orders = {epoch: order[rows] for epoch, order in self._orders.items()}

    def drop_epochs(self, before: int) -> None:
        """Drop the cached orders of the epochs before this one."""
        self._orders = {epoch: order for epoch, order in self._orders.items() if epoch >= before}

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the batches x and y of a step, each of shape (replicas, batch, ...)."""
        x, y, _ = next(self._stream(range(len(self._seeds)), step, 1))
        shape = len(self._seeds), self.batch_size
        return x.view(*shape, *x.shape[1:]), y.view(*shape, *y.shape[1:])

    def load_batches(self, workspace: Workspace, rows: Sequence[int], first: int, steps: int) -> Iterator[None]:
        """Load the batches of these replicas into the workspace, one step per iteration, starting at step `first`."""
        while steps:
            within_epoch = min(steps, self.steps_per_epoch - first % self.steps_per_epoch)
            if self.arrays is not None:
                for indices in self._indices(rows, first, within_epoch).numpy():
                    workspace.set_indices(indices)
                    yield
            else:
                for x, y, _ in self._stream(rows, first, within_epoch):
                    workspace.set_batch(x, y)
                    yield
            first, steps = first + within_epoch, steps - within_epoch

    def _stream(self, rows: Sequence[int], first: int, steps: int) -> Iterator[Batch]:
        """Return the batches for steps within one epoch; each concatenates the batches of all these replicas."""
        indices = self._indices(rows, first, steps).view(-1)
        return self._split.stream(indices, len(rows) * self.batch_size, first // self.steps_per_epoch)

    def _indices(self, rows: Sequence[int], first: int, steps: int) -> torch.Tensor:
        """Return the indices of the examples for steps within one epoch: (steps, replicas, batch)."""
        epoch, step = divmod(first, self.steps_per_epoch)
        start = step * self.batch_size
        # Consecutive rows are sliced, which makes no copy.
        selected = slice(rows.start, rows.stop) if isinstance(rows, range) else rows
        indices = self._order(epoch)[selected, start : start + steps * self.batch_size]
        return indices.view(len(rows), steps, self.batch_size).transpose(0, 1).contiguous()

    def _order(self, epoch: int) -> torch.Tensor:
        """Return the order in which each replica visits the examples in an epoch: (replicas, examples)."""
        if epoch not in self._orders:
            orders = {seed: epoch_order(seed, epoch, len(self._split)) for seed in self._seeds}
            self._orders[epoch] = torch.stack([orders[seed] for seed in self._seeds])
        return self._orders[epoch]
