"""One rule over the CPU tensors of one dtype: their addresses, their factors, and the passes of a step."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from steadystep.clipping.stages import Clamp, Scale, Stage, through
from steadystep.kernels import move
from steadystep.kernels.cpu.chunks import chunks
from steadystep.kernels.cpu.team import TEAM
from steadystep.kernels.cpu.updating import STAGE, Kernel, move_kernel, sums_kernel, update_kernel
from steadystep.kernels.equation import Equation, settings
from steadystep.kernels.layout import laid_out_like
from steadystep.kernels.passes import Update
from steadystep.maths import Number, where
from steadystep.rule import Rule

SMALLEST_FACTOR = 1e-30
"""A smaller one is multiplied by in two steps: it may be no normal float32."""


class Compiled:
    """The pass of a rule over dense CPU tensors of one dtype."""

    def __init__(self, rule: Rule, updates: Sequence[Update]) -> None:
        self._rule, self._updates = rule, updates
        self._equation = Equation(rule.update, rule.sums, len(rule.slots))
        self._dtype = updates[0].parameter.dtype
        self._precision = np.float64 if self._dtype == torch.float64 else np.float32
        self._chunks = chunks(tuple([update.parameter.numel() for update in updates]))
        self._counts = np.array([update.count for update in updates], np.float64)
        self._tensors = [tensor for update in updates for tensor in (update.parameter, *update.state)]
        self._known = [tensor.data_ptr() for tensor in self._tensors]
        # Column 0 is for the gradients, which every step may have elsewhere.
        self._addresses = np.zeros((len(updates), 2 + len(rule.slots)), np.int64)
        self._addresses[:, 1:] = np.reshape(self._known, (len(updates), -1))
        self._indices = np.array([update.index for update in updates])
        self._contiguous = all(update.parameter.is_contiguous() for update in updates)
        self._stage = np.empty((len(updates), len(STAGE)))
        self._own = np.ones((len(updates), len(self._equation.factors) + 1))
        self._no_totals = np.empty((0, 0))

    def fits(self) -> bool:
        return [tensor.data_ptr() for tensor in self._tensors] == self._known

    def apply(
        self,
        coefficients: Mapping[str, Number],
        stages: Sequence[Stage],
        values: Mapping[str, Any],
        accept: Number,
        update_bound: float | None,
    ) -> bool:
        """As every `Pass`; `accept` is known on the host here, and true."""
        kept, given, unstaged = self._gradients(stages)
        equation, types, own = self._equation, (self._dtype, given), self._own
        direction, coupled, shrink = settings(self._rule, values)
        shared = np.array([direction, coupled, shrink, *coefficients.values()])
        if self._rule.sums is not None:
            totals = self._totals(sums_kernel(equation, *types), self._precision, shared, equation.terms)
            factors = self._rule.tensor_factors(self._counts, values, totals)
            own[:, :-1] = np.transpose(list(factors.values()))
        bounded = False
        if update_bound is not None:
            kernel = move_kernel(equation, *types, move.starts_at_zero(self._rule))
            totals = self._totals(kernel, np.float64, shared, 2)
            own[:, -1], exceeds = move.limit(totals, self._counts, values["lr"], update_bound)
            bounded = bool(exceeds.any())
        plain = unstaged and coupled == 0.0 and shrink == 1.0 and update_bound is None
        self._run(update_kernel(equation, *types, plain), self._precision, shared, self._no_totals)
        if update_bound is not None:
            own[:, -1] = 1.0
        del kept  # the kernels have read it
        return bounded

    def _totals(self, kernel: Kernel, precision: type, shared: np.ndarray, terms: int) -> list[np.ndarray]:
        """The terms of the elements, added up for each tensor."""
        parts = np.empty((len(self._chunks.table), terms))
        self._run(kernel, precision, shared, parts)
        return [self._chunks.sums(column) for column in parts.T]

    def _run(self, kernel: Kernel, precision: type, shared: np.ndarray, totals: np.ndarray) -> None:
        numbers = [x.astype(precision, copy=False) for x in (self._stage, shared, self._own)]
        TEAM.run(kernel, self._chunks.elements, self._chunks.table, self._addresses, *numbers, totals)

    def _gradients(self, stages: Sequence[Stage]) -> tuple[Sequence[torch.Tensor], torch.dtype, bool]:
        """Note where the gradients are and what the kernel does to them.

        Returns what to keep, its type, and whether the kernel has nothing to do but to multiply by one factor.

        The kernel reads them in the layout of their parameters.
        """
        updates, tensors = self._updates, self._updates[0].tensors
        entered = _enter(stages, self._indices, self._stage)
        if entered and self._contiguous and tensors.contiguous:
            self._addresses[:, 0] = tensors.addresses[self._indices]
            return (), self._dtype, entered == "factor"
        gradients = [update.gradient for update in updates]
        if not entered:
            entered = _enter((), self._indices, self._stage)
            gradients = [through(stages, g, update.index) for g, update in zip(gradients, updates, strict=True)]
        gradients = [laid_out_like(update.parameter, g) for g, update in zip(gradients, updates, strict=True)]
        self._addresses[:, 0] = [gradient.data_ptr() for gradient in gradients]
        return gradients, gradients[0].dtype, entered == "factor"


def in_two(factors: Number) -> tuple[Number, Number]:
    """Factors as two that are multiplied by one after the other; the second is 1 but for the smallest."""
    tiny = factors < SMALLEST_FACTOR
    if not (tiny.any() if isinstance(tiny, np.ndarray) else tiny):
        return factors, 1.0
    root = np.sqrt(factors)
    return where(tiny, root, factors), where(tiny, root, 1.0)


def _enter(stages: Sequence[Stage], indices: np.ndarray, rows: np.ndarray) -> Literal["", "factor", "stage"]:
    """Write what the kernel does to each gradient, as `updating.STAGE`; "" for stages that it cannot do.

    "factor": it is no more than to multiply by the first number of each row.
    """
    row: list[Number] = [1.0, 1.0, np.inf, 1.0, 1.0]
    column = 0
    for stage in stages:
        if isinstance(stage, Scale):
            factors = stage.factors[indices] if getattr(stage.factors, "ndim", 0) else float(stage.factors)
            row[column] = row[column] * factors
        elif isinstance(stage, Clamp) and column == 0:
            row[2] = stage.bound
            column = 3
        else:
            return ""
    for column in (0, 3):
        row[column : column + 2] = in_two(row[column])
    for column, entry in enumerate(row):
        rows[:, column] = entry
    rest = (1.0, np.inf, 1.0, 1.0)
    factor = all(isinstance(entry, float) and entry == one for entry, one in zip(row[1:], rest, strict=True))
    return "factor" if factor else "stage"
