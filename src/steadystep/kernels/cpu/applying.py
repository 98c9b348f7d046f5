"""One rule over the CPU tensors of one dtype: their addresses, their factors, and the passes of a step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from steadystep.clipping.stages import Clamp, Scale, Stage, through
from steadystep.distributed import over_shards
from steadystep.kernels import move
from steadystep.kernels.cpu.chunks import chunks
from steadystep.kernels.cpu.team import TEAM
from steadystep.kernels.cpu.updating import STAGE, Equation, Kernel, move_kernel, sums_kernel, update_kernel
from steadystep.kernels.layout import laid_out_like
from steadystep.kernels.passes import Update
from steadystep.maths import Number
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
        self._wholes = [update.whole for update in updates]
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
        gradients, stage = self._gradients(stages)
        self._addresses[:, 0] = [gradient.data_ptr() for gradient in gradients]
        narrow, types = self._precision, (self._dtype, gradients[0].dtype)
        shared = np.array([*_settings(self._rule, values), *[coefficients[name] for name in self._equation.shared]])
        own = np.ones((len(self._updates), len(self._equation.factors) + 1))
        arguments = [x.astype(narrow, copy=False) for x in (stage, shared)]
        if self._rule.sums is not None:
            kernel = sums_kernel(self._equation, *types)
            totals = self._totals(kernel, *arguments, own.astype(narrow, copy=False), self._equation.terms)
            factors = self._rule.tensor_factors(self._counts, values, totals)
            own[:, :-1] = np.transpose(list(factors.values()))
        bounded = False
        if update_bound is not None:
            kernel = move_kernel(self._equation, *types, move.starts_at_zero(self._rule))
            totals = [over_shards(x, self._wholes) for x in self._totals(kernel, stage, shared, own, 2)]
            own[:, -1], exceeds = move.limit(totals, self._counts, values["lr"], update_bound)
            bounded = bool(exceeds.any())
        kernel = update_kernel(self._equation, *types)
        self._run(kernel, *arguments, own.astype(narrow, copy=False), self._no_totals)
        return bounded

    def _totals(self, kernel: Kernel, stage: np.ndarray, shared: np.ndarray, own: np.ndarray, terms: int) -> list:
        """The terms of the elements, added up for each tensor."""
        parts = np.empty((len(self._chunks.table), terms))
        self._run(kernel, stage, shared, own, parts)
        return [self._chunks.sums(column) for column in parts.T]

    def _run(self, kernel: Kernel, *arguments: np.ndarray) -> None:
        TEAM.run(kernel, self._chunks.elements, self._chunks.table, self._addresses, *arguments)

    def _gradients(self, stages: Sequence[Stage]) -> tuple[list[torch.Tensor], np.ndarray]:
        """The gradients in the layout of their parameters, and what the kernel has still to do to them."""
        updates = self._updates
        stage = _rows(stages, [update.index for update in updates])
        if stage is None:  # not for the kernel: done here, tensor by tensor
            clipped = [through(stages, update.gradient, update.index) for update in updates]
            stage = _rows((), range(len(updates)))
            assert stage is not None, "nothing is left to do"
        else:
            clipped = [update.gradient for update in updates]
        return [laid_out_like(u.parameter, g) for u, g in zip(updates, clipped, strict=True)], stage


def _settings(rule: Rule, values: Mapping[str, Any]) -> tuple[float, float, float]:
    """Direction, coupled decay and shrink factor: see `updating.SETTINGS`."""
    direction = -1.0 if values["maximize"] else 1.0
    decay = values["weight_decay"]
    match rule.decay:
        case "coupled":
            return direction, decay, 1.0
        case "decoupled":
            return direction, 0.0, 1.0 - values["lr"] * decay
        case "independent":
            return direction, 0.0, 1.0 - values["lr"] / values["base_lr"] * decay
        case "within":
            return direction, 0.0, 1.0


def _rows(stages: Sequence[Stage], indices: Sequence[int]) -> np.ndarray | None:
    """What the kernel does to each gradient, as `updating.STAGE`; None for stages that it cannot do."""
    before, bound, after = np.ones(len(indices)), np.inf, np.ones(len(indices))
    for stage in stages:
        if isinstance(stage, Scale):
            factors = stage.factors[indices] if np.ndim(stage.factors) else stage.factors
            if bound == np.inf:
                before = before * factors
            else:
                after = after * factors
        elif isinstance(stage, Clamp) and bound == np.inf:
            bound = stage.bound
        else:
            return None
    rows = np.empty((len(indices), len(STAGE)))
    for column, factors in ((0, before), (3, after)):
        in_two = factors < SMALLEST_FACTOR
        rows[:, column + 1] = np.where(in_two, np.sqrt(factors), 1.0)
        rows[:, column] = np.where(in_two, rows[:, column + 1], factors)
    rows[:, 2] = bound
    return rows
