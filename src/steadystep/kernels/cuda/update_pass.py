"""One rule over the tensors of one dtype on one device: their addresses, their factors, and the passes of a step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from steadystep.clipping.transforms import Clamp, Scale, Transform, apply_transforms
from steadystep.kernels import update_rms
from steadystep.kernels.codegen import Equation, settings
from steadystep.kernels.cuda.chunks import chunks
from steadystep.kernels.cuda.norm_kernel import sum_chunks
from steadystep.kernels.cuda.runtime import keep_for_graphs, launch, upload
from steadystep.kernels.cuda.update_kernel import move_kernel, sums_kernel, update_kernel
from steadystep.kernels.layout import in_layout_of
from steadystep.kernels.update import Update
from steadystep.rule import Rule
from steadystep.tracing.graph import Graph, Untraceable, graph_of
from steadystep.tracing.ops import Number


class Compiled:
    """The pass of a rule over dense tensors of one dtype on one device, which reads nothing back."""

    def __init__(self, rule: Rule, updates: Sequence[Update]) -> None:
        self._rule, self.updates = rule, updates
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
        self._indices = columns[:, 0].copy()
        self._places: dict[str, torch.Tensor] = {}  # where formulas put what the kernel reads

    def fits(self) -> bool:
        return list(map(torch.Tensor.data_ptr, self._tensors)) == self._known

    def apply(
        self,
        coefficients: Mapping[str, Number],
        transforms: Sequence[Transform],
        values: Mapping[str, Any],
        accept: Number,
        update_bound: float | None,
    ) -> Number:
        """As every `Pass`; the verdict, the coefficients and the factors may be on the device, and stay there."""
        split = _split(transforms)
        before, bound, after = split or ((), np.inf, ())
        numbers = [*settings(self._rule, values), bound, *coefficients.values()]
        formula = graph_of(accept)
        if formula is not None:
            if split is None or update_bound is not None:
                raise Untraceable("a clipper needs more than factors and one bound")
            self._defer(formula, numbers, [_product(scales) for scales in (before, after)], values, accept)
            return False
        gradients = self._gradients(transforms if split is None else ())
        addresses = np.array([gradient.data_ptr() for gradient in gradients], np.int64)
        pointers, shared = self._uploaded(addresses, numbers)
        factors = [self._factor(_product(scales)) for scales in (before, after)]
        verdict = accept.to(self._device) if isinstance(accept, torch.Tensor) else self._yes
        aligned = self._aligned and not (addresses % 16).any()
        bounded = self._update((pointers, shared, *factors), values, verdict, update_bound, aligned)
        del gradients  # all that reads them is in the stream's order by now
        return bool(bounded) if self._device.type == "cpu" else bounded

    def _defer(
        self,
        formula: Graph,
        numbers: Sequence[Number],
        factors: Sequence[Number | None],
        values: Mapping[str, Any],
        accept: Number,
    ) -> None:
        """Write down what the kernel reads, and start it once that is computed."""
        shared = self._place("shared", len(numbers))
        for entry, number in enumerate(numbers):
            formula.store(shared, number, entry)
        read = []
        for name, factor in zip(("before", "after"), factors, strict=True):
            if factor is None:
                read.append(None)
            elif getattr(factor, "ndim", 0):
                read.append(self._place(f"each {name}", formula.length))
                formula.store(read[-1], factor, -1)
            else:
                read.append(self._place(name))
                formula.store(read[-1], factor)
        verdict = self._place("verdict", dtype=torch.bool)
        formula.store(verdict, accept)

        def run() -> None:
            aligned = self._aligned and formula.aligned
            self._update((formula.gradients, shared, *read), values, verdict, None, aligned)

        formula.afterwards.append(run)

    def _place(self, name: str, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        if name not in self._places or self._places[name].shape != shape:
            self._places[name] = torch.empty(shape, dtype=dtype, device=self._device)
        return self._places[name]

    def _update(
        self,
        arguments: Sequence[Any],
        values: Mapping[str, Any],
        verdict: torch.Tensor,
        update_bound: float | None,
        aligned: bool,
    ) -> Number:
        """Start the kernels; whether the bound limits any update."""
        work = self._chunks
        keep_for_graphs(self._device, work.table, work.spans, self._columns, self._counts, self._yes)
        before, after = arguments[2:]
        constants = {"EACH_BEFORE": _each(before), "EACH_AFTER": _each(after), "ALIGNED": aligned}
        own, limits, bounded = None, None, False
        if self._rule.sums is not None:
            kernel = sums_kernel(self._equation, self._dtype)
            totals = self._totals(kernel, self._equation.terms, arguments, own, constants)
            own = torch.stack(list(self._rule.tensor_factors(self._counts, values, totals).values()), dim=1)
        if update_bound is not None:
            kernel = move_kernel(self._equation, self._dtype, update_rms.starts_at_zero(self._rule))
            totals = self._totals(kernel, 2, arguments, own, constants)
            limits, exceeds = update_rms.limit(totals, self._counts, values["lr"], update_bound)
            bounded = exceeds.any()
        kernel = update_kernel(self._equation, self._dtype, limits is not None)
        self._run(kernel, arguments, own, limits, verdict, constants)
        return bounded

    def _gradients(self, transforms: Sequence[Transform]) -> list[torch.Tensor]:
        """The gradients after transforms that are not for the kernel, in the layout of their parameters."""
        return [
            in_layout_of(update.parameter, apply_transforms(transforms, update.gradient, update.index))
            for update in self.updates
        ]

    def _totals(
        self, kernel: Any, terms: int, arguments: Sequence[Any], own: torch.Tensor | None, constants: dict[str, int]
    ) -> Sequence[torch.Tensor]:
        """The terms of the elements, added up for each tensor."""
        parts = torch.empty((len(self._chunks), terms), dtype=torch.float64, device=self._device)
        self._run(kernel, arguments, own, None, parts, constants)
        return sum_chunks(parts, self._chunks).unbind()

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
        table = np.zeros(self._indices[-1] + 1, np.int64)
        table[self._indices] = addresses
        words = upload(np.concatenate([table, known.view(np.int64)]), self._device)
        pointers, uploaded = words[: len(table)], words[len(table) :].view(torch.float64)
        if not np.isnan(known).any():
            return pointers, uploaded
        both = zip(numbers, uploaded.unbind(), strict=True)
        return pointers, torch.stack([
            number.to(self._device, torch.float64).reshape(()) if isinstance(number, torch.Tensor) else there
            for number, there in both
        ])  # fmt: skip

    def _factor(self, product: Number | None) -> torch.Tensor | None:
        """A factor in float64 on the device: one, or one for each measured gradient."""
        if product is None:
            return None
        if isinstance(product, torch.Tensor):
            return product.to(self._device, torch.float64)
        if np.ndim(product):
            return torch.from_numpy(np.ascontiguousarray(product, np.float64))
        return torch.full((), float(product), dtype=torch.float64, device=self._device)


def _product(scales: Sequence[Scale]) -> Number | None:
    """The product of factors: a number or one for each measured gradient; None for no factors."""
    if not scales:
        return None
    product = scales[0].factors
    for scale in scales[1:]:
        product = product * scale.factors
    return product


def _split(transforms: Sequence[Transform]) -> tuple[Sequence[Scale], float, Sequence[Scale]] | None:
    """Factors, a bound on every element, and factors after that; None for transforms that a kernel cannot do."""
    before: list[Scale] = []
    after: list[Scale] = []
    bound = np.inf
    for transform in transforms:
        if isinstance(transform, Scale):
            (before if bound == np.inf else after).append(transform)
        elif isinstance(transform, Clamp) and bound == np.inf:
            bound = transform.bound
        else:
            return None
    return before, bound, after


def _each(factors: torch.Tensor | None) -> int:
    return 1 if factors is not None and factors.dim() else 0
