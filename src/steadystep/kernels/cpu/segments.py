"""The segments of memory that an update kernel works on: whole tensors, or their units."""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

import numpy as np

from steadystep.clipping.transforms import UnitScale
from steadystep.kernels import units
from steadystep.kernels.cpu.parallel import chunks
from steadystep.kernels.cpu.update_kernel import TRANSFORM, UNTRANSFORMED
from steadystep.kernels.update import Update
from steadystep.tracing.ops import Number


class Segments:
    """The segments of the tensors of a pass, each with its addresses and its clipping transform.

    A whole tensor is one segment. Where clipping has a factor for every unit, every unit is one.

    Attributes:
        chunks: the chunks of all segments.
        addresses: (segments, 2 + slots), int64: of the gradient, the parameter and the state.
        transform: (segments, columns of `TRANSFORM`), float64.
        squares: (chunks + 1, 1), float64: the squared norm of the last update of each chunk, then 1 if any is not
            finite.
    """

    def __init__(self, updates: Sequence[Update], by_unit: bool) -> None:
        shapes = [_units(update) if by_unit else (1, update.parameter.numel()) for update in updates]
        where = units.unit_layout(tuple(shapes))
        self.by_unit = by_unit
        self.chunks = chunks(where.lengths)
        self.squares = np.zeros((len(self.chunks.table) + 1, 1))
        self.transform = np.full((len(where.lengths), len(TRANSFORM)), UNTRANSFORMED)
        self._changed_columns: Collection[int] = ()  # the columns of `transform` that differ from UNTRANSFORMED
        self._owners, self._offsets = where.owners, where.offsets
        self._counts = [count for count, _ in shapes]
        self._indices = np.array([update.index for update in updates])
        written = [(update.parameter, *update.state) for update in updates]
        self.addresses = np.zeros((len(where.lengths), 1 + len(written[0])), np.int64)
        for column, tensors in enumerate(zip(*written, strict=True), start=1):
            self._set_addresses(column, [tensor.data_ptr() for tensor in tensors], tensors[0].itemsize)

    def set_transform(self, columns: Mapping[int, Number]) -> None:
        """Set some columns of `transform`, and reset the others to those of `UNTRANSFORMED`."""
        for column in self._changed_columns:
            if column not in columns:
                self.transform[:, column] = UNTRANSFORMED[column]
        for column, entry in columns.items():
            self.transform[:, column] = entry
        self._changed_columns = columns.keys()

    def set_gradients(self, addresses: Sequence[int] | np.ndarray, itemsize: int) -> None:
        """Set the addresses of the gradients, which can change from step to step."""
        self._set_addresses(0, addresses, itemsize)

    def _set_addresses(self, column: int, addresses: Sequence[int] | np.ndarray, itemsize: int) -> None:
        if self.by_unit:
            addresses = np.asarray(addresses)[self._owners] + self._offsets * itemsize
        self.addresses[:, column] = addresses

    def of_updates(self, rows: np.ndarray) -> np.ndarray:
        """Return, for each segment, the value of its tensor, given one value per tensor of the pass."""
        return rows[self._owners] if self.by_unit else rows

    def of_gradients(self, factors: np.ndarray) -> np.ndarray:
        """Return, for each segment, the factor of its gradient, given one factor per gradient of the whole step."""
        return factors[self._gradient_indices]

    def unit_factors(self, transform: UnitScale) -> np.ndarray:
        """Return the factor of each segment, given segments that are units."""
        spans = [transform.spans[index] for index in self._indices.tolist()]
        counted = zip(spans, self._counts, strict=True)
        return np.concatenate([np.ones(count) if span is None else transform.factors[span] for span, count in counted])

    def sum_by_tensor(self, of_chunks: np.ndarray) -> np.ndarray:
        """Sum the values of each tensor's chunks in a fixed order, so that the number of threads does not matter."""
        return np.bincount(self._owner_of_chunk, of_chunks, minlength=len(self._counts))

    @cached_property
    def _gradient_indices(self) -> np.ndarray:
        return self.of_updates(self._indices)

    @cached_property
    def _owner_of_chunk(self) -> np.ndarray:
        return self._owners[self.chunks.table[:, 0]]


def can_split_by_unit(updates: Sequence[Update]) -> bool:
    """Return whether the elements of every unit of every tensor are contiguous."""
    return all(units.are_contiguous(update.parameter, _units(update)) for update in updates)


def _units(update: Update) -> units.Shape:
    return units.shape_of(update.parameter, update.whole)
