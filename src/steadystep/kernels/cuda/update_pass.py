"""The pass of a rule over the tensors of one dtype on one GPU: its addresses, its factors, and its kernels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from steadystep.clipping.transforms import Clamp, Scale, Transform, apply_transforms
from steadystep.kernels import update_rms
from steadystep.kernels.codegen import Equation, direction_and_decay
from steadystep.kernels.cuda import intrinsics
from steadystep.kernels.cuda.capture import GradientAddresses
from steadystep.kernels.cuda.chunks import chunks
from steadystep.kernels.cuda.norm_kernel import sum_chunks
from steadystep.kernels.cuda.runtime import launch, retain_for_cuda_graphs, upload
from steadystep.kernels.cuda.update_kernel import rms_kernel, sums_kernel, update_kernel
from steadystep.kernels.precision import math_dtype
from steadystep.kernels.update import Update
from steadystep.memory.fingerprint import addresses_of
from steadystep.memory.layout import in_layout_of
from steadystep.memory.versions import count_writes
from steadystep.rule import STEP, Rule
from steadystep.tracing.graph import Graph, Untraceable
from steadystep.tracing.ops import Number
from steadystep.tracing.verdict import Verdict


class CUDAUpdatePass:
    """A rule over dense tensors of one dtype on one GPU. Nothing is read back."""

    def __init__(self, rule: Rule, updates: Sequence[Update]) -> None:
        self._rule, self.updates = rule, updates
        self._written = [update.whole for update in updates]
        self._equation = Equation(rule.update, rule.sums, len(rule.slots))
        self._dtype, self._device = updates[0].parameter.dtype, updates[0].parameter.device
        self._chunks = chunks(tuple([update.parameter.numel() for update in updates]), self._device)
        self._math = math_dtype(updates[0].parameter)
        stored = updates[0].state[0].dtype if updates[0].state else self._math
        self._stored = None if stored == self._math else stored  # the dtype of compact state
        tensors = [tensor for update in updates for tensor in (update.parameter, *update.state)]
        columns = np.empty((len(updates), 2 + len(rule.slots)), np.int64)
        columns[:, 0] = [update.index for update in updates]
        columns[:, 1:] = np.reshape(addresses_of(tensors), (len(updates), -1))
        self._aligned = not (columns[:, 1:] % 16).any()
        self._columns = upload(columns.ravel(), self._device)
        counts = np.array([update.count for update in updates], np.float64)
        self._counts = upload(counts.view(np.int64), self._device).view(torch.float64)
        self._true = torch.ones((), dtype=torch.bool, device=self._device)
        self._indices = columns[:, 0].copy()
        self.nonfinite = False
        self.flag = torch.zeros((), dtype=torch.float64, device=self._device)
        self._squares = torch.zeros(len(self._chunks), 1, dtype=torch.float64, device=self._device)
        self._graph_memory: dict[str, torch.Tensor] = {}  # where graphs store what the kernels read

    def update_norms(self) -> torch.Tensor:
        """Return the Euclidean norm of the last update of each tensor, 0 before the first."""
        return sum_chunks(self._squares, self._chunks)[0].sqrt()

    def apply(
        self,
        coefficients: Mapping[str, Number],
        transforms: Sequence[Transform],
        values: Mapping[str, Any],
        verdict: Verdict,
        update_bound: float | None,
    ) -> Number:
        """Write the update of each tensor; see `UpdatePass.apply`.

        The verdict, the coefficients and the factors may be on the device, and stay there.
        """
        split = _split(transforms)
        before, bound, after = split or ((), np.inf, ())
        time = () if self._stored is None else (values[STEP],)
        numbers = [*direction_and_decay(self._rule, values), bound, *coefficients.values(), *time]
        if verdict.graph is not None:
            if split is None or update_bound is not None:
                raise Untraceable("a clipper needs more than factors and one bound")
            factors = [_product(scales) for scales in (before, after)]
            self._capture(verdict.graph, numbers, factors, values, verdict.accept)
            return False
        gradients = self._gradients(transforms if split is None else ())
        addresses = np.array(addresses_of(gradients), np.int64)
        pointers, shared = self._uploaded(addresses, numbers)
        factors = [self._on_device(_product(scales)) for scales in (before, after)]
        accept = verdict.on(self._device)
        aligned = self._aligned and not (addresses % 16).any()
        bounded = self._launch(
            (pointers, shared, *factors), gradients[0].dtype, values, self._true if accept is None else accept,
            update_bound, aligned,
        )  # fmt: skip
        del gradients  # every kernel that reads them is in the stream by now
        return bool(bounded) if self._device.type == "cpu" else bounded

    def _capture(
        self,
        graph: Graph,
        numbers: Sequence[Number],
        factors: Sequence[Number | None],
        values: Mapping[str, Any],
        accept: Number,
    ) -> None:
        """Store the kernels' inputs at each evaluation of the graph, and launch the kernels afterwards."""
        shared = self._memory("shared", len(numbers))
        for entry, number in enumerate(numbers):
            graph.store(shared, number, entry)
        stored: list[torch.Tensor | None] = []
        for name, factor in zip(("before", "after"), factors, strict=True):
            if factor is None:
                stored.append(None)
                continue
            vector = getattr(factor, "ndim", 0)
            memory = self._memory(f"each {name}", graph.length) if vector else self._memory(name)
            graph.store(memory, factor, -1 if vector else 0)
            stored.append(memory)
        verdict = self._memory("verdict", dtype=torch.bool)
        graph.store(verdict, accept)

        def run(gradients: GradientAddresses) -> None:
            aligned = self._aligned and gradients.aligned
            self._launch((gradients.pointers, shared, *stored), self._dtype, values, verdict, None, aligned)

        graph.updates.append(run)

    def _memory(self, name: str, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        if name not in self._graph_memory or self._graph_memory[name].shape != shape:
            self._graph_memory[name] = torch.empty(shape, dtype=dtype, device=self._device)
        return self._graph_memory[name]

    def _launch(
        self,
        arguments: Sequence[Any],
        grad_dtype: torch.dtype,
        values: Mapping[str, Any],
        verdict: torch.Tensor,
        update_bound: float | None,
        aligned: bool,
    ) -> Number:
        """Launch the kernels; return whether the bound limits any update."""
        work = self._chunks
        retain_for_cuda_graphs(
            self._device, work.table, work.spans, self._columns, self._counts, self._true, self._squares, self.flag
        )
        before, after = arguments[2:]
        constants = {
            "GRAD": intrinsics.STORED[str(grad_dtype).removeprefix("torch.")],
            "EACH_BEFORE": _is_vector(before),
            "EACH_AFTER": _is_vector(after),
            "ALIGNED": aligned,
        }
        per_tensor, limits, bounded = None, None, False
        if self._rule.sums is not None:
            kernel = sums_kernel(self._equation, self._dtype, self._stored)
            totals = self._totals(kernel, self._equation.terms, arguments, per_tensor, constants)
            factors = self._rule.tensor_factors(self._counts, values, totals)
            per_tensor = torch.stack(list(factors.values()), dim=1)
        if update_bound is not None:
            kernel = rms_kernel(self._equation, self._dtype, update_rms.starts_at_zero(self._rule), self._stored)
            totals = self._totals(kernel, 2, arguments, per_tensor, constants)
            limits, exceeds = update_rms.limit(totals, self._counts, values["lr"], update_bound)
            bounded = exceeds.any()
        kernel = update_kernel(self._equation, self._dtype, limits is not None, self._stored)
        self._run(kernel, arguments, per_tensor, limits, verdict, constants)
        count_writes(self._written)  # also of a refused step, of which the host does not know
        return bounded

    def _gradients(self, transforms: Sequence[Transform]) -> list[torch.Tensor]:
        """Return the gradients, after transforms that the kernels cannot apply, in the layout of their parameters.

        They have one dtype: that of the parameters, or the precision of the update.
        """
        chosen = [update.gradient for update in self.updates]
        chosen = [g if g.dtype == self._dtype else g.to(self._math) for g in chosen]
        chosen = [apply_transforms(transforms, g, update.index) for g, update in zip(chosen, self.updates, strict=True)]
        if len({gradient.dtype for gradient in chosen}) > 1:
            chosen = [gradient.to(self._math) for gradient in chosen]
        return [in_layout_of(update.parameter, g) for g, update in zip(chosen, self.updates, strict=True)]

    def _totals(
        self,
        kernel: Any,
        terms: int,
        arguments: Sequence[Any],
        per_tensor: torch.Tensor | None,
        constants: dict[str, Any],
    ) -> Sequence[torch.Tensor]:
        """Sum the per-element terms of each tensor."""
        sums = torch.empty((len(self._chunks), terms), dtype=torch.float64, device=self._device)
        self._run(kernel, arguments, per_tensor, None, sums, constants)
        return sum_chunks(sums, self._chunks).unbind()

    def _run(
        self,
        kernel: Any,
        arguments: Sequence[Any],
        per_tensor: torch.Tensor | None,
        limits: torch.Tensor | None,
        result: torch.Tensor,
        constants: dict[str, Any],
    ) -> None:
        work = self._chunks
        launch(
            kernel, len(work), self._device, work.table, self._columns, *arguments, per_tensor, limits, result,
            self._squares, self.flag, **constants, CHUNK=work.chunk, BLOCK=work.block,
        )  # fmt: skip

    def _uploaded(self, addresses: np.ndarray, numbers: Sequence[Number]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the gradients' addresses and the numbers on the device, by one copy; some numbers may be there."""
        known = np.array([np.nan if isinstance(number, torch.Tensor) else number for number in numbers], np.float64)
        table = np.zeros(self._indices[-1] + 1, np.int64)
        table[self._indices] = addresses
        both = upload(np.concatenate([table, known.view(np.int64)]), self._device)
        pointers, uploaded = both[: len(table)], both[len(table) :].view(torch.float64)
        if not np.isnan(known).any():
            return pointers, uploaded
        return pointers, torch.stack([
            number.to(self._device, torch.float64).reshape(()) if isinstance(number, torch.Tensor) else there
            for number, there in zip(numbers, uploaded.unbind(), strict=True)
        ])  # fmt: skip

    def _on_device(self, product: Number | None) -> torch.Tensor | None:
        """Return factors in float64 on the device: one, or one for each gradient."""
        if product is None:
            return None
        if isinstance(product, torch.Tensor):
            return product.to(self._device, torch.float64)
        if np.ndim(product):
            return torch.from_numpy(np.ascontiguousarray(product, np.float64))
        return torch.full((), float(product), dtype=torch.float64, device=self._device)


def _product(scales: Sequence[Scale]) -> Number | None:
    """Return the product of factors: a number, one for each gradient, or None if there are none."""
    if not scales:
        return None
    product = scales[0].factors
    for scale in scales[1:]:
        product = product * scale.factors
    return product


def _split(transforms: Sequence[Transform]) -> tuple[Sequence[Scale], float, Sequence[Scale]] | None:
    """Return the scales before a clamp, its bound, and the scales after; None if a kernel cannot apply them."""
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


def _is_vector(factors: torch.Tensor | None) -> int:
    return 1 if factors is not None and factors.dim() else 0
