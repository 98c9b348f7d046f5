"""The memory layout of a replica: everything that its steps change, in one contiguous row."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

CACHE_BYTES = 1 << 20
"""Memory that the replicas of a group may use together, gradients included. It fits into a core's own cache."""

MAX_GROUP_SIZE = 16
"""Maximum number of replicas in a group. The overhead of starting an operation is small from there on."""

CACHE_LINE = 16
"""Number of float32 elements in a cache line."""


@dataclass(frozen=True)
class Layout:
    """The layout of a replica's row of memory: its parameters, then each of the rule's slots for all parameters.

    >>> layout = Layout(("weight", "bias"), (torch.Size([5, 4]), torch.Size([5])), slots=1)
    >>> layout.size, layout.stride, layout.width
    (25, 48, 96)
    >>> [[tuple(view.shape) for view in part] for part in layout.split_rows(torch.zeros(7, 96))]
    [[(7, 5, 4), (7, 5)], [(7, 5, 4), (7, 5)]]
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    slots: int

    @property
    def counts(self) -> list[int]:
        """The number of elements of each parameter."""
        return [prod(shape) for shape in self.shapes]

    @property
    def size(self) -> int:
        """The number of elements of all parameters."""
        return sum(self.counts)

    @property
    def _padded_counts(self) -> list[int]:
        """The number of elements of each parameter, padded to whole cache lines so that no vector spans two lines."""
        return [-(-count // CACHE_LINE) * CACHE_LINE for count in self.counts]

    @property
    def stride(self) -> int:
        """The number of elements from the parameters to the first slot, and from each slot to the next."""
        return sum(self._padded_counts)

    @property
    def width(self) -> int:
        """The number of elements of a row."""
        return self.stride * (1 + self.slots)

    def group_size(self, itemsize: int, flops: float) -> int:
        """Return how many replicas are trained together in one group.

        As many as fit into the cache. The limit is lifted for a recurrent network: it uses each weight many times in a
        step, so fetching the weights costs little.

        Args:
            itemsize: bytes of an element.
            flops: operations of a step per example.
        """
        uses = flops / (6 * self.size)  # a multiplication and an addition, in the forward pass and for both gradients
        if uses > 2:
            return MAX_GROUP_SIZE
        return min(max(CACHE_BYTES // ((self.width + self.size) * itemsize), 1), MAX_GROUP_SIZE)

    def split_rows(self, rows: torch.Tensor) -> list[list[torch.Tensor]]:
        """Return views of shape (rows, ...) into rows of memory: one list for the parameters, then one per slot."""
        return [self.views(part) for part in rows.split(self.stride, 1)]

    def views(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Return views into the part of the rows that holds the parameters, or one slot: (rows, ...) each."""
        parts = zip(rows.split(self._padded_counts, 1), self.counts, self.shapes, strict=True)
        return [part[:, :count].view(len(rows), *shape) for part, count, shape in parts]


def make_layout(model: torch.nn.Module, slots: Sequence[str]) -> Layout:
    """Return the memory layout of a model's parameters and a rule's slots for them."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    return Layout(names, tuple(parameter.shape for parameter in parameters), len(slots))
