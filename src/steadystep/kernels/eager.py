"""The eager backend: rules on whole torch tensors. The reference for every other backend."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from steadystep.clipping.transforms import Transform, UnitScale, apply_transforms
from steadystep.gradients.distributed import sum_over_shards
from steadystep.kernels import update_rms
from steadystep.kernels.codegen import settings
from steadystep.kernels.precision import compensated, round_to
from steadystep.kernels.update import Update, math_dtype
from steadystep.rule import Rule
from steadystep.tracing.ops import Number, where


def sizes(gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Euclidean norm, in float64, and largest magnitude of a gradient; both NaN or inf if an element is."""
    if gradient.numel() == 0:  # a rank's share of a small tensor can be empty
        nothing = gradient.new_zeros((), dtype=torch.float64)
        return nothing, nothing
    low, high = torch.aminmax(gradient)  # NaN if any element is
    peak = torch.maximum(high, -low)
    if gradient.dtype != torch.float64:
        return torch.linalg.vector_norm(gradient, dtype=torch.float64), peak
    # A float64 square can overflow; in a narrower type its float64 square cannot.
    scale = torch.where(torch.isfinite(peak) & (peak > 0), peak, 1.0)
    return torch.linalg.vector_norm(gradient / scale) * scale, peak


class Eager:
    """The pass of a rule over any tensors, one after the other."""

    def __init__(self, rule: Rule, updates: Sequence[Update]) -> None:
        self._rule, self.updates = rule, updates

    def fits(self) -> bool:
        return True

    def apply(
        self,
        coefficients: Mapping[str, Number],
        transforms: Sequence[Transform],
        values: Mapping[str, Any],
        accept: Number,
        update_bound: float | None,
    ) -> Number:
        rule, shared = self._rule, coefficients
        bounded: Number = False
        for update in self.updates:
            coefficients = shared
            dtype = math_dtype(update.parameter)
            cast = _in(dtype, coefficients)
            if rule.sums is not None:
                totals = _totals(update, transforms, partial(rule.sums, **cast), rule, values, dtype)
                own = rule.tensor_factors(update.count, values, totals)
                coefficients = {**coefficients, **own}
                cast |= _in(dtype, own)
            factor: Number = 1.0
            if update_bound is not None:
                moved = partial(_squared_move, rule, _in(torch.float64, coefficients))
                totals = _totals(update, transforms, moved, rule, values, torch.float64)
                factor, exceeds = update_rms.limit(totals, update.count, values["lr"], update_bound)
                bounded = bounded | exceeds
                factor = _in(dtype, {"factor": factor})["factor"]
            for chunk in _chunks(update, transforms):
                operands = _operands(rule, chunk, update.index, transforms, values, dtype)
                p_new, *state_new = rule.update(*operands, **cast)
                if update_bound is not None:
                    p_new = where(factor < 1.0, operands[1] + factor * (p_new - operands[1]), p_new)
                rounded = round_to(chunk[1].dtype, p_new, values["rounding"])
                for old, value in zip(chunk[1:], (*rounded[:1], *state_new, *rounded[1:]), strict=True):
                    write(old, value, accept)
        return bounded


def _squared_move(
    rule: Rule, coefficients: Mapping[str, Number], g: torch.Tensor, p: torch.Tensor, *state: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    start = torch.zeros_like(p) if update_rms.starts_at_zero(rule) else p
    return update_rms.squares(rule.update(g, start, *(x.to(p.dtype) for x in state), **coefficients)[0] - start)


def _operands(
    rule: Rule,
    chunk: Sequence[torch.Tensor],
    index: int,
    transforms: Sequence[Transform],
    values: Mapping[str, Any],
    dtype: torch.dtype,
) -> tuple[torch.Tensor, ...]:
    """What an update rule reads: gradient, parameter and state, with clipping and weight decay applied."""
    gradient, parameter, *state = chunk
    g, p = apply_transforms(transforms, gradient.to(dtype), index), parameter.to(dtype)
    if compensated(parameter.dtype, values["rounding"]):
        *state, lost = state
        p = p + lost
    direction, coupled, shrink = settings(rule, values)
    if direction < 0:
        g = -g
    if values["weight_decay"] != 0.0:
        if rule.decay == "coupled":
            g = g + coupled * p
        elif rule.decay != "within":
            p = p * shrink
    return g, p, *state


def _totals(
    update: Update,
    transforms: Sequence[Transform],
    terms: Callable[..., tuple[torch.Tensor, ...]],
    rule: Rule,
    values: Mapping[str, Any],
    dtype: torch.dtype,
) -> list[Number]:
    """Each of the terms of what the rule reads, in this precision, added up over the tensor in float64."""
    totals: list[Number] = []
    for chunk in _chunks(update, transforms):
        operands = _operands(rule, chunk, update.index, transforms, values, dtype)
        parts = [x.sum(dtype=torch.float64) for x in terms(*operands)]
        totals = [total + part for total, part in zip(totals, parts, strict=True)] if totals else parts
    summed = [sum_over_shards(total, update.whole) for total in totals]
    return [total.item() for total in summed] if update.parameter.device.type == "cpu" else summed


CHUNK = 65536
"""On a CPU, elements handled at a time: what a rule computes on the way then stays in the cache."""


def _chunks(update: Update, transforms: Sequence[Transform]) -> Iterable[tuple[torch.Tensor, ...]]:
    tensors = (update.gradient, update.parameter, *update.state)
    small = update.parameter.numel() <= CHUNK or update.parameter.device.type != "cpu"
    by_unit = any(isinstance(transform, UnitScale) for transform in transforms)  # whose factors have the tensor's shape
    if small or by_unit or not all(tensor.is_contiguous() for tensor in tensors):
        return (tensors,)
    return zip(*(tensor.view(-1).split(CHUNK) for tensor in tensors), strict=True)


def _in(dtype: torch.dtype, coefficients: Mapping[str, Number]) -> dict[str, Number]:
    """Coefficients that were computed on a device, rounded to the precision of the update."""
    return {name: x.to(dtype) if isinstance(x, torch.Tensor) else x for name, x in coefficients.items()}


def write(old: torch.Tensor, new: torch.Tensor, accept: Number) -> None:
    """Replace a tensor's content, if the step is accepted."""
    if isinstance(accept, torch.Tensor):
        # Selected, never multiplied by 0: 0 * NaN is NaN.
        torch.where(accept.to(old.device), new.to(old.dtype), old, out=old)
    else:
        old.copy_(new)
