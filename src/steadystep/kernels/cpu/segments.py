"""What a kernel handles under one number each: whole tensors, or their units."""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

import numpy as np

from steadystep.clipping.transforms import UnitScale
from steadystep.kernels import units
from steadystep.kernels.cpu.parallel import chunks
from steadystep.kernels.cpu.update_kernel import NOTHING, STAGE
from steadystep.kernels.update import Update
from steadystep.tracing.ops import Number


class Segments:
    """Stretches of the tensors of a pass, each with its address and what clipping does to it.

    Whole tensors are one piece each; where clipping has a factor for every unit, a unit is a piece.
    """

    def __init__(self, updates: Sequence[Update], by_unit: bool) -> None:
        shapes = [_units(update) if by_unit else (1, update.parameter.numel()) for update in updates]
        where = units.stretches(tuple(shapes))
        self.by_unit = by_unit
        self.chunks = chunks(where.lengths)
        self.transform = np.full((len(where.lengths), len(STAGE)), NOTHING)
        self._entered: Collection[int] = ()  # columns of `transform` that are not as in NOTHING
        self._owners, self._offsets = where.owners, where.offsets
        self._counts = [count for count, _ in shapes]
        self._indices = np.array([update.index for update in updates])
        written = [(update.parameter, *update.state) for update in updates]
        # Column 0 is for the gradients, which every step may have elsewhere.
        self.addresses = np.zeros((len(where.lengths), 1 + len(written[0])), np.int64)
        for column, tensors in enumerate(zip(*written, strict=True), start=1):
            self._point(column, [tensor.data_ptr() for tensor in tensors], tensors[0].itemsize)

    def enter(self, columns: Mapping[int, Number]) -> None:
        """Note what clipping does to each piece: columns of `transform`, the others being as in `NOTHING`."""
        for column in self._entered:
            if column not in columns:
                self.transform[:, column] = NOTHING[column]
        for column, entry in columns.items():
            self.transform[:, column] = entry
        self._entered = columns.keys()

    def read_from(self, addresses: Sequence[int] | np.ndarray, itemsize: int) -> None:
        """Note where the gradients of the tensors are."""
        self._point(0, addresses, itemsize)

    def _point(self, column: int, addresses: Sequence[int] | np.ndarray, itemsize: int) -> None:
        if self.by_unit:
            addresses = np.asarray(addresses)[self._owners] + self._offsets * itemsize
        self.addresses[:, column] = addresses

    def of_each(self, rows: np.ndarray) -> np.ndarray:
        """What each tensor has, for each piece."""
        return rows[self._owners] if self.by_unit else rows

    def of_measured(self, factors: np.ndarray) -> np.ndarray:
        """What each measured tensor has, for each piece."""
        return factors[self._indices_of_pieces]

    def unit_factors(self, transform: UnitScale) -> np.ndarray:
        """A unit's factor, for each piece that is one."""
        spans = [transform.spans[index] for index in self._indices.tolist()]
        counted = zip(spans, self._counts, strict=True)
        return np.concatenate([np.ones(count) if span is None else transform.factors[span] for span, count in counted])

    def sums(self, parts: np.ndarray) -> np.ndarray:
        """For each tensor the sum of its chunks' parts, in order: however many threads there were."""
        return np.bincount(self._owner_of_chunk, parts, minlength=len(self._counts))

    @cached_property
    def _indices_of_pieces(self) -> np.ndarray:
        return self.of_each(self._indices)

    @cached_property
    def _owner_of_chunk(self) -> np.ndarray:
        return self._owners[self.chunks.table[:, 0]]


def can_split_by_unit(updates: Sequence[Update]) -> bool:
    """Whether every unit of every tensor fills a stretch of memory."""
    return all(units.are_stretches(update.parameter, _units(update)) for update in updates)


def _units(update: Update) -> units.Shape:
    return units.shape_of(update.parameter, update.whole)
