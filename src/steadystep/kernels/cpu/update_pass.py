"""The pass of a rule over CPU tensors of one dtype: its addresses, factors and kernels."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch

from steadystep.clipping.transforms import Clamp, Scale, Transform, UnitScale, apply_transforms
from steadystep.kernels import update_rms
from steadystep.kernels.codegen import Equation, direction_and_decay
from steadystep.kernels.cpu.parallel import TEAM
from steadystep.kernels.cpu.segments import Segments, can_split_by_unit
from steadystep.kernels.cpu.update_kernel import (
    SETTINGS,
    TRANSFORM,
    Kernel,
    rms_kernel,
    sums_kernel,
    update_kernel,
)
from steadystep.kernels.precision import math_dtype
from steadystep.kernels.update import Update, has_nonfinite
from steadystep.memory.layout import in_layout_of
from steadystep.memory.versions import count_writes
from steadystep.rule import STEP, Rule
from steadystep.tracing.graph import Graph, Untraceable
from steadystep.tracing.ops import Number, where
from steadystep.tracing.verdict import Verdict

SMALLEST_FACTOR = 1e-30
"""Smaller factors are applied in two steps, because they may not be normal float32 numbers."""

BEFORE, BEFORE_AGAIN, BOUND, AFTER = map(TRANSFORM.index, ("before", "before_again", "bound", "after"))
COUPLED, SHRINK = map(SETTINGS.index, ("coupled", "shrink"))


class CPUUpdatePass:
    """A rule over dense CPU tensors of one dtype."""

    def __init__(self, rule: Rule, updates: Sequence[Update]) -> None:
        self._rule, self.updates = rule, updates
        self._equation = Equation(rule.update, rule.sums, len(rule.slots))
        self._dtype, self._math = updates[0].parameter.dtype, math_dtype(updates[0].parameter)
        self._counts = np.array([update.count for update in updates], np.float64)
        self._written = [update.whole for update in updates]
        self._indices = _as_slice([update.index for update in updates])
        self._direct = all(update.is_direct for update in updates)  # whether gradients are read where they are
        # (tensors, factors of the rule, then the limit of the update)
        self._per_tensor = np.ones((len(updates), len(self._equation.factors) + 1))
        self.nonfinite = False  # whether the last update wrote anything that is not finite
        self._last: Segments | None = None  # of the last update
        self._kernels: dict[tuple[torch.dtype, bool], Kernel] = {}
        stored = updates[0].state[0].dtype if updates[0].state else self._math
        self._stored = None if stored == self._math else stored  # the dtype of compact state

    @cached_property
    def _whole(self) -> Segments:
        return Segments(self.updates, by_unit=False)

    @cached_property
    def _by_unit(self) -> Segments | None:
        """One segment per unit, or None where the elements of a unit are not contiguous."""
        return Segments(self.updates, by_unit=True) if can_split_by_unit(self.updates) else None

    @cached_property
    def _replayed(self) -> Segments:
        """The segments of replayed steps, in which only the gradients' addresses and two columns of factors change."""
        return Segments(self.updates, by_unit=False)

    @property
    def flag(self) -> None:
        """None: the host knows `nonfinite` as soon as the kernels have run."""

    def update_norms(self) -> np.ndarray:
        """Return the Euclidean norm of the last update of each tensor, 0 before the first."""
        if self._last is None:
            return np.zeros(len(self.updates))
        return np.sqrt(self._last.sum_by_tensor(self._last.squares[:-1, 0]))

    def apply(
        self,
        coefficients: Mapping[str, Number],
        transforms: Sequence[Transform],
        values: Mapping[str, Any],
        verdict: Verdict,
        update_bound: float | None,
    ) -> bool:
        """Write the update of each tensor; see `UpdatePass.apply`. Here the verdict is true, or a node of a graph."""
        time = () if self._stored is None else (values[STEP],)
        numbers = (*direction_and_decay(self._rule, values), *coefficients.values(), *time)
        if verdict.graph is None:
            return self._update(np.array(numbers, np.float64), transforms, values, update_bound)
        if update_bound is not None:
            raise Untraceable("the root mean square of an update is measured outside the graph")
        self._capture(verdict.graph, numbers, transforms, values, verdict.accept)
        return False

    def _capture(
        self,
        graph: Graph,
        numbers: Sequence[Number],
        transforms: Sequence[Transform],
        values: Mapping[str, Any],
        accept: Number,
    ) -> None:
        """Store the kernel's inputs at each evaluation of the graph, then run the kernel if the step is accepted."""
        stored = torch.empty(len(numbers), dtype=torch.float64, device="cpu")
        verdict = torch.empty((), dtype=torch.bool, device="cpu")
        for entry, number in enumerate(numbers):
            graph.store(stored, number, entry)
        graph.store(verdict, accept)
        factors: list[np.ndarray] = []
        for transform in transforms:
            if not isinstance(transform, Scale):
                raise Untraceable("a clipper does more than multiply gradients by factors")
            node = graph.as_number(transform.factors)
            memory = torch.empty((graph.length,) if node.is_vector else (), dtype=torch.float64, device="cpu")
            graph.store(memory, node, -memory.dim())
            factors.append(memory.numpy())
        accepted, shared, segments = verdict.numpy(), stored.numpy(), self._replayed

        def run(addresses: np.ndarray) -> None:
            if not accepted:
                return
            segments.addresses[:, 0] = addresses[self._indices]
            factor: Number = 1.0
            for one in factors:
                factor = factor * (one[self._indices] if one.ndim else one[()])
            if factors:
                once, again = in_two(factor)
                segments.transform[:, BEFORE] = once
                segments.transform[:, BEFORE_AGAIN] = 1.0 if again is None else again
                self._launch(segments, self._dtype, again is None, shared, values, None)
            else:
                self._launch(segments, self._dtype, True, shared, values, None)

        graph.updates.append(run)

    def _update(
        self, shared: np.ndarray, transforms: Sequence[Transform], values: Mapping[str, Any], update_bound: float | None
    ) -> bool:
        """Run the kernels on the current gradients; `shared` holds the numbers that all tensors share."""
        by_unit = UnitScale in map(type, transforms)
        segments = (self._by_unit if by_unit else None) or self._whole
        alive, grad_dtype, only_scaled = self._set_gradients(transforms, segments)
        bounded = self._launch(segments, grad_dtype, only_scaled, shared, values, update_bound)
        del alive  # the kernels have read the gradients
        return bounded

    def _launch(
        self,
        segments: Segments,
        grad_dtype: torch.dtype,
        only_scaled: bool,
        shared: np.ndarray,
        values: Mapping[str, Any],
        update_bound: float | None,
    ) -> bool:
        """Run the kernels on segments whose gradients and transforms are set; return whether the bound took effect."""
        equation, dtypes, per_tensor = self._equation, (self._dtype, grad_dtype), self._per_tensor
        stored = self._stored
        plain = only_scaled and shared[COUPLED] == 0.0 and shared[SHRINK] == 1.0
        if self._rule.sums is not None:
            totals = self._totals(segments, sums_kernel(equation, *dtypes, plain, stored), shared, equation.terms)
            with np.errstate(invalid="ignore", over="ignore"):  # of parameters that are not finite
                factors = self._rule.tensor_factors(self._counts, values, totals)
            per_tensor[:, :-1] = np.transpose(list(factors.values()))
        bounded = False
        if update_bound is not None:
            kernel = rms_kernel(equation, *dtypes, update_rms.starts_at_zero(self._rule), stored)
            totals = self._totals(segments, kernel, shared, 2)
            per_tensor[:, -1], exceeds = update_rms.limit(totals, self._counts, values["lr"], update_bound)
            bounded = bool(exceeds.any())
        plain = plain and update_bound is None
        kernel = self._kernels.get((grad_dtype, plain))
        if kernel is None:
            kernel = self._kernels[grad_dtype, plain] = update_kernel(equation, *dtypes, plain, stored)
        squares = segments.squares
        squares[-1, 0] = 0.0
        self._run(segments, kernel, shared, squares)
        count_writes(self._written)
        self._last = segments
        # The sum can overflow, too.
        self.nonfinite = bool(squares[-1, 0]) and any(map(has_nonfinite, self.updates))
        if update_bound is not None:
            per_tensor[:, -1] = 1.0
        return bounded

    def _totals(self, segments: Segments, kernel: Kernel, shared: np.ndarray, terms: int) -> list[np.ndarray]:
        """Sum the per-element terms of each tensor."""
        sums = np.empty((len(segments.chunks.table), terms))
        self._run(segments, kernel, shared, sums)
        return [segments.sum_by_tensor(column) for column in sums.T]

    def _run(self, segments: Segments, kernel: Kernel, shared: np.ndarray, totals: np.ndarray) -> None:
        per_tensor = segments.of_updates(self._per_tensor) if segments.by_unit else self._per_tensor
        TEAM.run(kernel, segments.chunks, segments.addresses, segments.transform, shared, per_tensor, totals)

    def _set_gradients(
        self, transforms: Sequence[Transform], segments: Segments
    ) -> tuple[Sequence[torch.Tensor], torch.dtype, bool]:
        """Set the addresses of the gradients, in the layout of their parameters, and what the kernel does to them.

        Returns:
            The gradients that must stay alive, their dtype, and whether the kernel only multiplies by one factor.
        """
        updates, gradients = self.updates, self.updates[0].gradients
        done = _set_transform(transforms, segments)
        if done and self._direct:
            segments.set_gradients(gradients.addresses[self._indices], self._dtype.itemsize)
            return (), self._dtype, done == "factor"
        # A gradient of another dtype is converted to the precision of the update, as in the eager backend.
        chosen = [update.gradient for update in updates]
        chosen = [g if g.dtype == self._dtype else g.to(self._math) for g in chosen]
        if not done:
            done = _set_transform((), segments)
            chosen = [apply_transforms(transforms, g, update.index) for g, update in zip(chosen, updates, strict=True)]
        if len({gradient.dtype for gradient in chosen}) > 1:  # all gradients of a kernel have one dtype
            chosen = [gradient.to(self._math) for gradient in chosen]
        chosen = [in_layout_of(update.parameter, g) for g, update in zip(chosen, updates, strict=True)]
        segments.set_gradients([gradient.data_ptr() for gradient in chosen], chosen[0].itemsize)
        return chosen, chosen[0].dtype, done == "factor"


def _as_slice(indices: Sequence[int]) -> slice | np.ndarray:
    """Return what selects these entries of an array: a slice if they follow each other, as it is much faster."""
    first, end = indices[0], indices[-1] + 1
    return slice(first, end) if list(indices) == list(range(first, end)) else np.array(indices)


def in_two(factors: Number) -> tuple[Number, Number | None]:
    """Split each factor into two that are applied in turn; the second array is None if all its entries are 1."""
    tiny = factors < SMALLEST_FACTOR
    if not (tiny.any() if isinstance(tiny, np.ndarray) else tiny):
        return factors, None
    root = np.sqrt(factors)
    return where(tiny, root, factors), where(tiny, root, 1.0)


def _set_transform(transforms: Sequence[Transform], segments: Segments) -> Literal["", "factor", "transform"]:
    """Set how the kernel transforms each segment, in the columns of `TRANSFORM`.

    Returns:
        "factor" if the kernel only multiplies by the first column, "transform" if it does more, and "" if the kernel
        cannot apply these transforms.
    """
    columns: dict[int, Number] = {}
    column = BEFORE
    for transform in transforms:
        if isinstance(transform, Scale):
            per_gradient = getattr(transform.factors, "ndim", 0)
            factors = segments.of_gradients(transform.factors) if per_gradient else float(transform.factors)
            columns[column] = columns.get(column, 1.0) * factors
        elif isinstance(transform, UnitScale) and segments.by_unit:
            columns[column] = columns.get(column, 1.0) * segments.unit_factors(transform)
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
    segments.set_transform(columns)
    return "factor" if columns.keys() <= {BEFORE} else "transform"
