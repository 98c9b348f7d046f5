"""How a replica lies in memory: everything that its steps change, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

CACHE = 1 << 20
"""Bytes that replicas which take steps together may have, gradients included: they stay in a core's own cache."""

AT_A_TIME = 16
"""Small replicas that take steps together, at most: starting an operation is then a small share of it."""

LINE = 16
"""Elements of a cache line of float32."""


@dataclass(frozen=True)
class Layout:
    """A row of memory for one replica: its parameters, then each of the rule's slots for all of them.

    >>> layout = Layout(("weight", "bias"), (torch.Size([5, 4]), torch.Size([5])), slots=1)
    >>> layout.size, layout.stride, layout.width
    (25, 48, 96)
    >>> [[tuple(view.shape) for view in part] for part in layout.parts(torch.zeros(7, 96))]
    [[(7, 5, 4), (7, 5)], [(7, 5, 4), (7, 5)]]
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    slots: int

    @property
    def counts(self) -> list[int]:
        """Elements of each parameter."""
        return [prod(shape) for shape in self.shapes]

    @property
    def size(self) -> int:
        """Elements of all parameters."""
        return sum(self.counts)

    @property
    def _room(self) -> list[int]:
        """Elements from the beginning of one parameter to that of the next: vectors do not lie across cache lines."""
        return [-(-count // LINE) * LINE for count in self.counts]

    @property
    def stride(self) -> int:
        """Elements from the parameters to the first slot, and from there to the next."""
        return sum(self._room)

    @property
    def width(self) -> int:
        """Elements of a row."""
        return self.stride * (1 + self.slots)

    def at_a_time(self, itemsize: int, flops: float) -> int:
        """How many replicas take steps together, where a step on one example takes so many operations.

        A recurrent network uses each of its weights many times in a step: what it costs to fetch them is little then.
        """
        uses = flops / (6 * self.size)  # a product of two numbers and its sum, forwards and for both gradients
        return AT_A_TIME if uses > 2 else min(max(CACHE // ((self.width + self.size) * itemsize), 1), AT_A_TIME)

    def parts(self, rows: torch.Tensor) -> list[list[torch.Tensor]]:
        """What lies in rows of memory: the parameters, (rows, ...) each, and the same for every slot."""
        return [self.tensors(part) for part in rows.split(self.stride, 1)]

    def tensors(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """What lies in rows for the parameters alone, or for a slot."""
        each = zip(rows.split(self._room, 1), self.counts, self.shapes, strict=True)
        return [part[:, :count].view(len(rows), *shape) for part, count, shape in each]


def layout_of(model: torch.nn.Module, slots: Sequence[str]) -> Layout:
    """Where a model's parameters and a rule's slots for them go."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    return Layout(names, tuple(parameter.shape for parameter in parameters), len(slots))
