"""The eager backend, which applies rules to whole torch tensors, as the reference for every other backend."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from steadystep.clipping.transforms import Transform, UnitScale, apply_transforms
from steadystep.gradients.distributed import sum_over_shards
from steadystep.kernels import update_rms
from steadystep.kernels.codegen import direction_and_decay
from steadystep.kernels.precision import flushed, is_compensated, math_dtype, round_to
from steadystep.kernels.update import Update, has_nonfinite
from steadystep.memory.access import plain
from steadystep.rule import Rule
from steadystep.tracing.ops import Number, where
from steadystep.tracing.verdict import Verdict


def norm_and_abs_max(gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the Euclidean norm, in float64, and the largest magnitude; neither is finite if any element is not."""
    if gradient.numel() == 0:  # a rank's shard of a small tensor can be empty
        zero = gradient.new_zeros((), dtype=torch.float64)
        return zero, zero
    low, high = torch.aminmax(gradient)  # NaN if any element is
    abs_max = torch.maximum(high, -low)
    if gradient.dtype != torch.float64:
        return torch.linalg.vector_norm(gradient, dtype=torch.float64), abs_max
    # The square of a float64 can overflow; the float64 square of a narrower type cannot.
    scale = torch.where(torch.isfinite(abs_max) & (abs_max > 0), abs_max, 1.0)
    return torch.linalg.vector_norm(gradient / scale) * scale, abs_max


class EagerUpdatePass:
    """The pass of a rule over any tensors, one after the other."""

    def __init__(self, rule: Rule, updates: Sequence[Update]) -> None:
        self._rule, self.updates = rule, updates
        self.nonfinite = False
        device = updates[0].parameter.device
        self.flag = None if device.type == "cpu" else torch.zeros((), dtype=torch.float64, device=device)
        self._squares: list[Number] = [0.0] * len(updates)  # the squared norm of each tensor's last update

    def update_norms(self) -> list[float]:
        """Return the Euclidean norm of the last update of each tensor, 0 before the first."""
        return [float(squares) ** 0.5 for squares in self._squares]

    def apply(
        self,
        coefficients: Mapping[str, Number],
        transforms: Sequence[Transform],
        values: Mapping[str, Any],
        verdict: Verdict,
        update_bound: float | None,
    ) -> Number:
        """Write the update of each tensor; see `UpdatePass.apply`."""
        rule, shared = self._rule, coefficients
        bounded: Number = False
        for place, update in enumerate(self.updates):
            coefficients = shared
            moved: Number = 0.0
            dtype = math_dtype(update.parameter)
            cast = _to_dtype(dtype, coefficients)
            if rule.sums is not None:
                totals = _totals(update, transforms, partial(rule.sums, **cast), rule, values, dtype)
                factors = rule.tensor_factors(update.count, values, totals)
                coefficients = {**coefficients, **factors}
                cast |= _to_dtype(dtype, factors)
            factor: Number = 1.0
            if update_bound is not None:
                squares = partial(_update_squares, rule, _to_dtype(torch.float64, coefficients))
                totals = _totals(update, transforms, squares, rule, values, torch.float64)
                factor, exceeds = update_rms.limit(totals, update.count, values["lr"], update_bound)
                bounded = bounded | exceeds
                factor = _to_dtype(dtype, {"factor": factor})["factor"]
            for chunk in _chunks(update, transforms):
                operands = _operands(rule, chunk, update.index, transforms, values, dtype)
                p_new, *state_new = rule.update(*operands, **cast)
                state_new = [
                    round_to(old.dtype, flushed(value), "stochastic")[0]
                    for old, value in zip(chunk[2:], state_new, strict=False)
                ]
                if update_bound is not None:
                    p_new = where(factor < 1.0, operands[1] + factor * (p_new - operands[1]), p_new)
                rounded = round_to(chunk[1].dtype, p_new, values["rounding"])
                moved = moved + _squares_and_state(rounded[0], chunk[1], (*state_new, *rounded[1:]))
                for old, value in zip(chunk[1:], (*rounded[:1], *state_new, *rounded[1:]), strict=True):
                    verdict.write(old, value)
            self._record(place, moved, verdict)
        # The sum can overflow, too.
        self.nonfinite = (
            self.flag is None and not all(map(math.isfinite, self._squares)) and any(map(has_nonfinite, self.updates))
        )
        return bounded

    def _record(self, place: int, squares: torch.Tensor, verdict: Verdict) -> None:
        """Record the squared norm of a tensor's update, on its device, if the step is applied."""
        accept = verdict.on(squares.device)
        if self.flag is None:
            self._squares[place] = plain(squares).item()
            return
        applied = squares if accept is None else torch.where(accept, squares, self._squares[place])
        self._squares[place] = applied
        self.flag.copy_(torch.maximum(self.flag, torch.isfinite(applied).logical_not()))


def _squares_and_state(new: torch.Tensor, old: torch.Tensor, state: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the squared norm of an update, in float64; it is not finite if the parameter or its new state is not."""
    squares = (new.double() - old.double()).square().sum()
    return squares + sum((value * 0.0).sum(dtype=torch.float64) for value in state)


def _update_squares(
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
    """Return the inputs of an update rule: gradient, parameter and state, after clipping and weight decay."""
    gradient, parameter, *state = chunk
    g, p = apply_transforms(transforms, gradient.to(dtype), index), parameter.to(dtype)
    if is_compensated(parameter.dtype, values["rounding"]):
        *state, rounding_error = state
        p = p + rounding_error
    direction, coupled, shrink = direction_and_decay(rule, values)
    if direction < 0:
        g = -g
    if values["weight_decay"] != 0.0:
        if rule.decay == "coupled":
            g = g + coupled * p
        elif rule.decay != "within":
            p = p * shrink
    return g, p, *(one.to(dtype) for one in state)


def _totals(
    update: Update,
    transforms: Sequence[Transform],
    terms: Callable[..., tuple[torch.Tensor, ...]],
    rule: Rule,
    values: Mapping[str, Any],
    dtype: torch.dtype,
) -> list[Number]:
    """Compute the terms of each element in `dtype`, and sum each term over the tensor in float64."""
    totals: list[Number] = []
    for chunk in _chunks(update, transforms):
        operands = _operands(rule, chunk, update.index, transforms, values, dtype)
        sums = [x.sum(dtype=torch.float64) for x in terms(*operands)]
        totals = [total + more for total, more in zip(totals, sums, strict=True)] if totals else sums
    summed = [sum_over_shards(total, update.whole) for total in totals]
    return [total.item() for total in summed] if update.parameter.device.type == "cpu" else summed


CHUNK = 65536
"""Elements that are handled at a time on a CPU, so that the intermediate results of a rule stay in the cache."""


def _chunks(update: Update, transforms: Sequence[Transform]) -> Iterable[tuple[torch.Tensor, ...]]:
    tensors = (update.gradient, update.parameter, *update.state)
    small = update.parameter.numel() <= CHUNK or update.parameter.device.type != "cpu"
    by_unit = any(isinstance(transform, UnitScale) for transform in transforms)  # its factors need the tensor's shape
    if small or by_unit or not all(tensor.is_contiguous() for tensor in tensors):
        return (tensors,)
    return zip(*(tensor.view(-1).split(CHUNK) for tensor in tensors), strict=True)


def _to_dtype(dtype: torch.dtype, coefficients: Mapping[str, Number]) -> dict[str, Number]:
    """Round coefficients that were computed on an accelerator to the precision of the update."""
    return {name: x.to(dtype) if isinstance(x, torch.Tensor) else x for name, x in coefficients.items()}
