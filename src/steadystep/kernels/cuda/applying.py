"""One rule over the tensors of one dtype on one device: their addresses, their factors, and the passes of a step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from steadystep.clipping.stages import Clamp, Scale, Stage, through
from steadystep.kernels import move
from steadystep.kernels.cuda.adding import add_up
from steadystep.kernels.cuda.chunks import chunks
from steadystep.kernels.cuda.launching import launch
from steadystep.kernels.cuda.updating import move_kernel, sums_kernel, update_kernel
from steadystep.kernels.cuda.uploading import keep_for_graphs, upload
from steadystep.kernels.equation import Equation, settings
from steadystep.kernels.layout import laid_out_like
from steadystep.kernels.passes import Update
from steadystep.maths import Number
from steadystep.rule import Rule


class Compiled:
    """The pass of a rule over dense tensors of one dtype on one device, which reads nothing back."""

    def __init__(self, rule: Rule, updates: Sequence[Update]) -> None:
        self._rule, self._updates = rule, updates
        self._equation = Equation(rule.update, rule.sums, len(rule.slots))
        self._dtype, self._device = updates[0].parameter.dtype, updates[0].parameter.device
        self._chunks = chunks(tuple([update.parameter.numel() for update in updates]), self._device)
        self._tensors = [tensor for update in updates for tensor in (update.parameter, *update.state)]
        self._known = [tensor.data_ptr() for tensor in self._tensors]
        columns = np.empty((len(updates), 2 + len(rule.slots)), np.int64)
        columns[:, 0] = [update.index for update in updates]
        columns[:, 1:] = np.reshape(self._known, (len(updates), -1))
        self._aligned = not (columns[:, 1:] % 16).any()
        self._columns = upload(columns.ravel(), self._device)
        counts = np.array([update.count for update in updates], np.float64)
        self._counts = upload(counts.view(np.int64), self._device).view(torch.float64)
        self._yes = torch.ones((), dtype=torch.bool, device=self._device)

    def fits(self) -> bool:
        return [tensor.data_ptr() for tensor in self._tensors] == self._known

    def apply(
        self,
        coefficients: Mapping[str, Number],
        stages: Sequence[Stage],
        values: Mapping[str, Any],
        accept: Number,
        update_bound: float | None,
    ) -> Number:
        """As every `Pass`; the verdict, the coefficients and the factors may be on the device, and stay there."""
        work = self._chunks
        keep_for_graphs(self._device, work.table, work.spans, self._columns, self._counts, self._yes)
        split = _split(stages)
        before, bound, after = split or ((), np.inf, ())
        gradients = self._gradients(stages if split is None else ())
        addresses = np.array([gradient.data_ptr() for gradient in gradients], np.int64)
        pointers, shared = self._uploaded(addresses, [*settings(self._rule, values), bound, *coefficients.values()])
        factors = [self._product(scales) for scales in (before, after)]
        constants = {
            "EACH_BEFORE": _each(factors[0]),
            "EACH_AFTER": _each(factors[1]),
            "ALIGNED": self._aligned and not (addresses % 16).any(),
        }
        arguments = (pointers, shared, *factors)
        own, limits, bounded = None, None, False
        if self._rule.sums is not None:
            kernel = sums_kernel(self._equation, self._dtype)
            totals = self._totals(kernel, self._equation.terms, arguments, own, constants)
            own = torch.stack(list(self._rule.tensor_factors(self._counts, values, totals).values()), dim=1)
        if update_bound is not None:
            kernel = move_kernel(self._equation, self._dtype, move.starts_at_zero(self._rule))
            totals = self._totals(kernel, 2, arguments, own, constants)
            limits, exceeds = move.limit(totals, self._counts, values["lr"], update_bound)
            bounded = exceeds.any()
        kernel = update_kernel(self._equation, self._dtype, limits is not None)
        verdict = accept.to(self._device) if isinstance(accept, torch.Tensor) else self._yes
        self._run(kernel, arguments, own, limits, verdict, constants)
        del gradients  # all that reads them is in the stream's order by now
        return bool(bounded) if self._device.type == "cpu" else bounded

    def _gradients(self, stages: Sequence[Stage]) -> list[torch.Tensor]:
        """The gradients after stages that are not for the kernel, in the layout of their parameters."""
        return [
            laid_out_like(update.parameter, through(stages, update.gradient, update.index)) for update in self._updates
        ]

    def _totals(
        self, kernel: Any, terms: int, arguments: Sequence[Any], own: torch.Tensor | None, constants: dict[str, int]
    ) -> Sequence[torch.Tensor]:
        """The terms of the elements, added up for each tensor."""
        parts = torch.empty((len(self._chunks), terms), dtype=torch.float64, device=self._device)
        self._run(kernel, arguments, own, None, parts, constants)
        return add_up(parts, self._chunks).unbind()

    def _run(
        self,
        kernel: Any,
        arguments: Sequence[Any],
        own: torch.Tensor | None,
        limits: torch.Tensor | None,
        result: torch.Tensor,
        constants: dict[str, int],
    ) -> None:
        work = self._chunks
        launch(
            kernel, len(work), self._device, work.table, self._columns, *arguments, own, limits, result,
            **constants, CHUNK=work.chunk, BLOCK=work.block,
        )  # fmt: skip

    def _uploaded(self, addresses: np.ndarray, numbers: Sequence[Number]) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradients' addresses and the numbers, on the device by one copy; some of the numbers may be there."""
        known = np.array([np.nan if isinstance(number, torch.Tensor) else number for number in numbers], np.float64)
        words = upload(np.concatenate([addresses, known.view(np.int64)]), self._device)
        pointers, uploaded = words[: len(addresses)], words[len(addresses) :].view(torch.float64)
        if not np.isnan(known).any():
            return pointers, uploaded
        both = zip(numbers, uploaded.unbind(), strict=True)
        return pointers, torch.stack([
            number.to(self._device, torch.float64).reshape(()) if isinstance(number, torch.Tensor) else there
            for number, there in both
        ])  # fmt: skip

    def _product(self, scales: Sequence[Scale]) -> torch.Tensor | None:
        """The product of factors, in float64: a number or one for each measured gradient; None for no factors."""
        if not scales:
            return None
        product = scales[0].factors
        for scale in scales[1:]:
            product = product * scale.factors
        if isinstance(product, torch.Tensor):
            return product.to(self._device, torch.float64)
        if np.ndim(product):
            return torch.from_numpy(np.ascontiguousarray(product, np.float64))
        return torch.full((), float(product), dtype=torch.float64, device=self._device)


def _split(stages: Sequence[Stage]) -> tuple[Sequence[Scale], float, Sequence[Scale]] | None:
    """Factors, a bound on every element, and factors after that; None for stages that a kernel cannot do."""
    before: list[Scale] = []
    after: list[Scale] = []
    bound = np.inf
    for stage in stages:
        if isinstance(stage, Scale):
            (before if bound == np.inf else after).append(stage)
        elif isinstance(stage, Clamp) and bound == np.inf:
            bound = stage.bound
        else:
            return None
    return before, bound, after


def _each(factors: torch.Tensor | None) -> int:
    return 1 if factors is not None and factors.dim() else 0
