"""Which examples replicas are trained on in which step: those that their trials would see alone."""

from collections.abc import Iterator, Sequence

import torch

from steadystep.lab.replicas.workspace import Desk
from steadystep.lab.tasks.task import Arrays, Batch, Split
from steadystep.lab.training.seeds import epoch_order


class Feeding:
    """The data order of several replicas, by their rows: in every epoch a new one, which the seed alone decides.

    Attributes:
        arrays: what the split holds, where its examples need no stream.
        batch_size: examples of a replica's step.
        steps_per_epoch: the last, incomplete batch is dropped.
    """

    def __init__(self, split: Split, batch_size: int, seeds: Sequence[int]) -> None:
        self._split, self._seeds = split, list(seeds)
        self.arrays = split if isinstance(split, Arrays) else None
        self.batch_size = min(batch_size, len(split))
        self.steps_per_epoch = len(split) // self.batch_size
        self._orders: dict[int, torch.Tensor] = {}  # by epoch: (replicas, examples)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these replicas alone."""
        self._seeds = [self._seeds[row] for row in rows]
        self._orders = {epoch: order[rows] for epoch, order in self._orders.items()}

    def forget(self, before: int) -> None:
        """Let go of the orders of earlier epochs."""
        self._orders = {epoch: order for epoch, order in self._orders.items() if epoch >= before}

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The batches of a step: (replicas, batch, ...) each."""
        x, y, _ = next(self._stream(range(len(self._seeds)), step, 1))
        shape = len(self._seeds), self.batch_size
        return x.view(*shape, *x.shape[1:]), y.view(*shape, *y.shape[1:])

    def put(self, desk: Desk, rows: Sequence[int], first: int, steps: int) -> Iterator[None]:
        """Have the batches of these steps of these replicas at the desk, one step's after the other's."""
        while steps:
            of_epoch = min(steps, self.steps_per_epoch - first % self.steps_per_epoch)
            if self.arrays is not None:
                for chosen in self._chosen(rows, first, of_epoch).numpy():
                    desk.choose(chosen)
                    yield
            else:
                for x, y, _ in self._stream(rows, first, of_epoch):
                    desk.put(x, y)
                    yield
            first, steps = first + of_epoch, steps - of_epoch

    def _stream(self, rows: Sequence[int], first: int, steps: int) -> Iterator[Batch]:
        """The examples of these replicas in some steps of an epoch, one replica's after the other's."""
        chosen = self._chosen(rows, first, steps).view(-1)
        return self._split.stream(chosen, len(rows) * self.batch_size, first // self.steps_per_epoch)

    def _chosen(self, rows: Sequence[int], first: int, steps: int) -> torch.Tensor:
        """The places of those examples: (steps, replicas, batch)."""
        epoch, step = divmod(first, self.steps_per_epoch)
        start = step * self.batch_size
        # Rows that follow each other are found without copying.
        found = slice(rows.start, rows.stop) if isinstance(rows, range) else rows
        chosen = self._order(epoch)[found, start : start + steps * self.batch_size]
        return chosen.view(len(rows), steps, self.batch_size).transpose(0, 1).contiguous()

    def _order(self, epoch: int) -> torch.Tensor:
        """In which order each replica visits the examples then: (replicas, examples)."""
        if epoch not in self._orders:
            orders = {seed: epoch_order(seed, epoch, len(self._split)) for seed in self._seeds}
            self._orders[epoch] = torch.stack([orders[seed] for seed in self._seeds])
        return self._orders[epoch]
