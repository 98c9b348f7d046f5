"""The eager backend: rules on whole torch tensors. The reference for every other backend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from steadystep.clipping.measured import Measured
from steadystep.clipping.stages import Stage
from steadystep.maths import Number
from steadystep.rule import Rule


def math_dtype(tensor: torch.Tensor) -> torch.dtype:
    """In which precision a tensor is updated and its state is kept: float64 as it is, all else in float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def measure(gradients: Sequence[torch.Tensor], groups: Sequence[slice], stages: Sequence[Stage] = ()) -> Measured:
    """One pass over the gradients, as `stages` leave them: norms and peaks, judged in float64."""
    norms, peaks = [], []
    for index, raw in enumerate(gradients):
        gradient = _through(stages, raw, index)
        low, high = torch.aminmax(gradient)  # NaN if any element is
        peak = torch.maximum(high, -low)
        if gradient.dtype == torch.float64:
            # A float64 square can overflow; in a narrower type its float64 square cannot.
            scale = torch.where(torch.isfinite(peak) & (peak > 0), peak, 1.0)
            norms.append(torch.linalg.vector_norm(gradient / scale) * scale)
        else:
            norms.append(torch.linalg.vector_norm(gradient, dtype=torch.float64))
        peaks.append(peak)
    return Measured(_gather(norms), _gather(peaks), groups)


def _through(stages: Sequence[Stage], gradient: torch.Tensor, index: int) -> torch.Tensor:
    for stage in stages:
        gradient = stage(gradient, index)
    return gradient


def _gather(values: Sequence[torch.Tensor]) -> Number:
    """One float64 vector where decisions are made: NumPy if all are on a CPU, else on the first device."""
    home = next((value.device for value in values if value.device.type != "cpu"), torch.device("cpu"))
    vector = torch.stack([value.to(home, torch.float64, non_blocking=True) for value in values])
    return vector.numpy() if home.type == "cpu" else vector


@dataclass(frozen=True)
class Update:
    """One tensor to be updated: its gradient, its parameter, its state in the order of the rule's slots."""

    index: int  # among the measured gradients
    gradient: torch.Tensor
    parameter: torch.Tensor
    state: Sequence[torch.Tensor]


def apply(
    rule: Rule,
    coefficients: Mapping[str, Number],
    updates: Sequence[Update],
    stages: Sequence[Stage],
    hyperparameters: Mapping[str, Any],
    accept: Number,
) -> None:
    """Write the rule's update of each tensor. A refused step writes what was there before."""
    decay, maximize = hyperparameters["weight_decay"], hyperparameters["maximize"]
    keep = 1.0 - hyperparameters["lr"] * decay
    for update in updates:
        dtype = math_dtype(update.parameter)
        g, p = _through(stages, update.gradient.to(dtype), update.index), update.parameter.to(dtype)
        if maximize:
            g = -g
        if decay != 0.0:
            if rule.decay == "coupled":
                g = g + decay * p
            else:
                p = p * keep
        new = rule.update(g, p, *update.state, **_in(dtype, coefficients))
        for old, value in zip((update.parameter, *update.state), new, strict=True):
            _write(old, value, accept)


def _in(dtype: torch.dtype, coefficients: Mapping[str, Number]) -> Mapping[str, Number]:
    """Coefficients that were computed on a device, rounded to the precision of the update."""
    return {name: x.to(dtype) if isinstance(x, torch.Tensor) else x for name, x in coefficients.items()}


def _write(old: torch.Tensor, new: torch.Tensor, accept: Number) -> None:
    if isinstance(accept, torch.Tensor):
        # Selected, never multiplied by 0: 0 * NaN is NaN.
        torch.where(accept.to(old.device), new.to(old.dtype), old, out=old)
    else:
        old.copy_(new)
