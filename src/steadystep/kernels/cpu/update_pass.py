"""One rule over the CPU tensors of one dtype: their addresses, their factors, and the passes of a step."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch

from steadystep.clipping.transforms import Clamp, Scale, Transform, UnitScale, apply_transforms
from steadystep.kernels import update_rms
from steadystep.kernels.codegen import Equation, settings
from steadystep.kernels.cpu.parallel import TEAM
from steadystep.kernels.cpu.segments import Segments, can_split_by_unit
from steadystep.kernels.cpu.update_kernel import SETTINGS, STAGE, Kernel, move_kernel, sums_kernel, update_kernel
from steadystep.kernels.layout import in_layout_of
from steadystep.kernels.update import Update
from steadystep.rule import Rule
from steadystep.tracing.graph import Graph, Untraceable, graph_of
from steadystep.tracing.ops import Number, where

SMALLEST_FACTOR = 1e-30
"""A smaller one is multiplied by in two steps: it may be no normal float32."""


class Compiled:
    """The pass of a rule over dense CPU tensors of one dtype."""

    def __init__(self, rule: Rule, updates: Sequence[Update]) -> None:
        self._rule, self.updates = rule, updates
        self._equation = Equation(rule.update, rule.sums, len(rule.slots))
        self._dtype = updates[0].parameter.dtype
        self._counts = np.array([update.count for update in updates], np.float64)
        self._tensors = [tensor for update in updates for tensor in (update.parameter, *update.state)]
        self._known = [tensor.data_ptr() for tensor in self._tensors]
        self._indices = np.array([update.index for update in updates])
        self._contiguous = all(update.parameter.is_contiguous() for update in updates)
        self._whole = Segments(updates, by_unit=False)
        self._own = np.ones((len(updates), len(self._equation.factors) + 1))
        self._no_totals = np.empty((0, 0))

    @cached_property
    def _units(self) -> Segments | None:
        """The tensors unit by unit; None where a unit is no stretch of memory."""
        return Segments(self.updates, by_unit=True) if can_split_by_unit(self.updates) else None

    def fits(self) -> bool:
        return list(map(torch.Tensor.data_ptr, self._tensors)) == self._known

    def apply(
        self,
        coefficients: Mapping[str, Number],
        transforms: Sequence[Transform],
        values: Mapping[str, Any],
        accept: Number,
        update_bound: float | None,
    ) -> bool:
        """As every `Pass`; `accept` is known on the host here, and true, or part of a formula."""
        numbers = (*settings(self._rule, values), *coefficients.values())
        formula = graph_of(accept)
        if formula is not None:
            if update_bound is not None:
                raise Untraceable("how far an update would move a tensor is not known before it is computed")
            self._defer(formula, numbers, transforms, values, accept)
            return False
        return self._update(np.array(numbers, np.float64), transforms, values, update_bound)

    def _defer(
        self,
        formula: Graph,
        numbers: Sequence[Number],
        transforms: Sequence[Transform],
        values: Mapping[str, Any],
        accept: Number,
    ) -> None:
        """Write down what the kernel reads, and run it once that is computed, if the step is accepted."""
        shared, verdict = torch.empty(len(numbers), dtype=torch.float64), torch.empty((), dtype=torch.bool)
        for entry, number in enumerate(numbers):
            formula.store(shared, number, entry)
        formula.store(verdict, accept)
        read: list[Scale] = []
        for transform in transforms:
            if not isinstance(transform, Scale):
                raise Untraceable("a clipper needs more than factors")
            factors = formula.as_number(transform.factors)
            place = torch.empty((formula.length,) if factors.ndim else (), dtype=torch.float64)
            formula.store(place, factors, -factors.ndim)
            read.append(Scale(place.numpy()))

        def run() -> None:
            if accepted:
                self._update(found, read, values, None)

        accepted, found = verdict.numpy(), shared.numpy()
        formula.afterwards.append(run)

    def _update(
        self, shared: np.ndarray, transforms: Sequence[Transform], values: Mapping[str, Any], update_bound: float | None
    ) -> bool:
        """Run the kernels; `shared` are what all tensors share."""
        by_unit = UnitScale in map(type, transforms)
        pieces = (self._units if by_unit else None) or self._whole
        kept, given, unstaged = self._gradients(transforms, pieces)
        equation, types, own = self._equation, (self._dtype, given), self._own
        if self._rule.sums is not None:
            totals = self._totals(pieces, sums_kernel(equation, *types), shared, equation.terms)
            factors = self._rule.tensor_factors(self._counts, values, totals)
            own[:, :-1] = np.transpose(list(factors.values()))
        bounded = False
        if update_bound is not None:
            kernel = move_kernel(equation, *types, update_rms.starts_at_zero(self._rule))
            totals = self._totals(pieces, kernel, shared, 2)
            own[:, -1], exceeds = update_rms.limit(totals, self._counts, values["lr"], update_bound)
            bounded = bool(exceeds.any())
        plain = unstaged and shared[COUPLED] == 0.0 and shared[SHRINK] == 1.0 and update_bound is None
        self._run(pieces, update_kernel(equation, *types, plain), shared, self._no_totals)
        if update_bound is not None:
            own[:, -1] = 1.0
        del kept  # the kernels have read it
        return bounded

    def _totals(self, pieces: Segments, kernel: Kernel, shared: np.ndarray, terms: int) -> list[np.ndarray]:
        """The terms of the elements, added up for each tensor."""
        parts = np.empty((len(pieces.chunks.table), terms))
        self._run(pieces, kernel, shared, parts)
        return [pieces.sums(column) for column in parts.T]

    def _run(self, pieces: Segments, kernel: Kernel, shared: np.ndarray, totals: np.ndarray) -> None:
        work, own = pieces.chunks, pieces.of_each(self._own)
        TEAM.run(kernel, work.elements, work.table, pieces.addresses, pieces.transform, shared, own, totals)

    def _gradients(
        self, transforms: Sequence[Transform], pieces: Segments
    ) -> tuple[Sequence[torch.Tensor], torch.dtype, bool]:
        """Note where the gradients are and what the kernel does to them.

        Returns what to keep, its type, and whether the kernel has nothing to do but to multiply by one factor.

        The kernel reads them in the layout of their parameters.
        """
        updates, tensors = self.updates, self.updates[0].tensors
        entered = _enter(transforms, pieces)
        if entered and self._contiguous and tensors.contiguous:
            pieces.read_from(tensors.addresses[self._indices], self._dtype.itemsize)
            return (), self._dtype, entered == "factor"
        gradients = [update.gradient for update in updates]
        if not entered:
            entered = _enter((), pieces)
            gradients = [
                apply_transforms(transforms, g, update.index) for g, update in zip(gradients, updates, strict=True)
            ]
        gradients = [in_layout_of(update.parameter, g) for g, update in zip(gradients, updates, strict=True)]
        pieces.read_from([gradient.data_ptr() for gradient in gradients], gradients[0].itemsize)
        return gradients, gradients[0].dtype, entered == "factor"


def in_two(factors: Number) -> tuple[Number, Number | None]:
    """Factors as two that are multiplied by one after the other; None for the second where all are 1."""
    tiny = factors < SMALLEST_FACTOR
    if not (tiny.any() if isinstance(tiny, np.ndarray) else tiny):
        return factors, None
    root = np.sqrt(factors)
    return where(tiny, root, factors), where(tiny, root, 1.0)


def _enter(transforms: Sequence[Transform], pieces: Segments) -> Literal["", "factor", "transform"]:
    """Write what the kernel does to each piece, as `updating.STAGE`; "" for transforms that it cannot do.

    "factor": it is no more than to multiply by the first number of each row.
    """
    columns: dict[int, Number] = {}
    column = BEFORE
    for transform in transforms:
        if isinstance(transform, Scale):
            each = getattr(transform.factors, "ndim", 0)
            factors = pieces.of_measured(transform.factors) if each else float(transform.factors)
            columns[column] = columns.get(column, 1.0) * factors
        elif isinstance(transform, UnitScale) and pieces.by_unit:
            columns[column] = columns.get(column, 1.0) * pieces.unit_factors(transform)
        elif isinstance(transform, Clamp) and column == BEFORE:
            columns[BOUND] = transform.bound
            column = AFTER
        else:
            return ""
    for column in (BEFORE, AFTER):
        if column in columns:
            columns[column], again = in_two(columns[column])
            if again is not None:
                columns[column + 1] = again
    pieces.enter(columns)
    return "factor" if columns.keys() <= {BEFORE} else "transform"


BEFORE, BOUND, AFTER = map(STAGE.index, ("before", "bound", "after"))
COUPLED, SHRINK = map(SETTINGS.index, ("coupled", "shrink"))
