"""Which backend measures and updates a tensor: chosen by device, type and layout, or forced by name."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from steadystep.clipping.measured import Measured
from steadystep.clipping.stages import Stage, through
from steadystep.distributed import is_sharded, over_ranks, over_shards
from steadystep.kernels import eager
from steadystep.kernels.layout import are_alike, is_dense
from steadystep.kernels.passes import Pass, Update, math_dtype
from steadystep.kernels.rounding import Rounding, compensated
from steadystep.maths import Number, isfinite, sqrt, where
from steadystep.rule import Rule
from steadystep.tensors import Tensors

BACKENDS = ("eager", "numba")
"""The names that `backend=` accepts; None chooses for each tensor the fastest that can do it."""

_COMPILED_TYPES = frozenset((torch.float32, torch.float64, torch.bfloat16, torch.float16))


def check_backend(name: str | None) -> None:
    """Raise a ValueError unless there is such a backend."""
    if name is not None and name not in BACKENDS:
        accepted = ", ".join(map(repr, BACKENDS))
        raise ValueError(f"backend is {name!r}: it must be {accepted}, or None for the fastest that fits")


def measure(tensors: Tensors, stages: Sequence[Stage] = (), backend: str | None = None) -> Measured:
    """One pass over the gradients, as `stages` leave them: norms and peaks, judged in float64."""
    gradients: Sequence[torch.Tensor] = tensors.gradients
    if stages:
        gradients = [through(stages, gradient, index) for index, gradient in enumerate(gradients)]
    dtype = gradients[0].dtype
    if all(gradient.dtype == dtype and _can_measure(gradient, backend) for gradient in gradients):
        norms, peaks = _compiled_sizes(gradients)
    else:
        norms, peaks = _mixed_sizes(gradients, backend)
    return Measured(*_whole(norms, peaks, tensors), tensors, tuple(stages))


def passes(
    rule: Rule, updates: Sequence[Update], rounding: Rounding, home: torch.device, backend: str | None
) -> list[Pass]:
    """The passes that write these updates, where decisions are made on the device `home`.

    Raises:
        ValueError: if a backend is forced that cannot update one of the tensors, with the reason.
    """
    compiled: dict[torch.dtype, list[Update]] = {}
    others: list[Update] = []
    for update in updates:
        obstacle = _obstacle(update, rule, rounding, home)
        if obstacle and backend == "numba":
            raise ValueError(
                f"backend='numba' cannot update a parameter of shape {tuple(update.whole.shape)} {obstacle}: leave "
                "backend out, and such a parameter is updated by the eager one"
            )
        if obstacle or backend == "eager":
            others.append(update)
        else:
            compiled.setdefault(update.parameter.dtype, []).append(update)
    found: list[Pass] = [eager.Eager(rule, others)] if others else []
    if compiled:
        from steadystep.kernels.cpu.applying import Compiled

        found.extend(Compiled(rule, group) for group in compiled.values())
    return found


def _obstacle(update: Update, rule: Rule, rounding: Rounding, home: torch.device) -> str:
    """Why the compiled backend cannot update a tensor; empty if it can."""
    parameter = update.parameter
    if parameter.device.type != "cpu":
        return f"on {parameter.device}"
    if home.type != "cpu":
        return f"on the CPU while others are on {home}"
    if not _is_compiled_type(parameter.dtype):
        return f"of {parameter.dtype}"
    if compensated(parameter.dtype, rounding) or (rounding == "stochastic" and parameter.dtype == torch.bfloat16):
        return f"with rounding={rounding!r}"
    if rule.sums is not None and is_sharded(update.whole):
        return "in shards, over which the rule adds up"
    if not (is_dense(parameter) and are_alike(parameter, update.state)):
        return "whose elements do not fill a stretch of memory"
    if any(state.dtype != math_dtype(parameter) for state in update.state):
        return "whose state has another precision"
    return ""


def _can_measure(gradient: torch.Tensor, backend: str | None) -> bool:
    return backend != "eager" and gradient.device.type == "cpu" and _is_compiled_type(gradient.dtype)


@cache
def _is_compiled_type(dtype: torch.dtype) -> bool:
    if dtype == torch.float16:
        from steadystep.kernels.cpu.primitives import HAS_HALF

        return HAS_HALF
    return dtype in _COMPILED_TYPES


def _compiled_sizes(gradients: Sequence[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    from steadystep.kernels.cpu.measuring import measure

    return measure(
        [
            gradient if gradient.is_contiguous() or is_dense(gradient) else gradient.contiguous()
            for gradient in gradients
        ]
    )


def _mixed_sizes(gradients: Sequence[torch.Tensor], backend: str | None) -> tuple[Number, Number]:
    """Norms and peaks of tensors of several types or devices, in the order given."""
    sizes: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * len(gradients)
    kinds: dict[torch.dtype, list[int]] = {}
    for index, gradient in enumerate(gradients):
        if _can_measure(gradient, backend):
            kinds.setdefault(gradient.dtype, []).append(index)
        else:
            sizes[index] = eager.sizes(gradient)
    for indices in kinds.values():
        measured = _compiled_sizes([gradients[index] for index in indices])
        for index, *pair in zip(indices, *map(torch.from_numpy, measured), strict=True):
            sizes[index] = (pair[0], pair[1])
    found = [pair for pair in sizes if pair is not None]
    return _gather([norm for norm, _ in found]), _gather([peak for _, peak in found])


def _gather(values: Sequence[torch.Tensor]) -> Number:
    """One float64 vector where decisions are made: NumPy if all are on a CPU, else on the first other device."""
    home = next((value.device for value in values if value.device.type != "cpu"), torch.device("cpu"))
    vector = torch.stack([value.to(home, torch.float64, non_blocking=True) for value in values])
    return vector.numpy() if home.type == "cpu" else vector


def _whole(norms: Number, peaks: Number, tensors: Tensors) -> tuple[Number, Number]:
    """Norms and peaks of whole tensors, from those of this rank's shards."""
    if not tensors.sharded:
        return norms, peaks
    largest = over_ranks(where(isfinite(peaks), peaks, math.inf), tensors.parameters)
    scale = where(isfinite(largest) & (largest > 0), largest, 1.0)
    whole = scale * sqrt(over_shards((norms / scale) ** 2, tensors.parameters))
    return where(isfinite(largest), whole, largest), largest
