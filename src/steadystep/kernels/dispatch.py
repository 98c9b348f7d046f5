"""Which backend measures and updates a tensor: chosen by device, type and layout, or forced by name."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch

from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Transform, apply_transforms
from steadystep.gradients.distributed import is_sharded, over_ranks, over_shards
from steadystep.gradients.gradient_set import GradientSet
from steadystep.kernels import eager
from steadystep.kernels.capture import CapturedStep
from steadystep.kernels.cuda.availability import obstacle as obstacle_to_triton
from steadystep.kernels.layout import is_compiled_type, is_dense, same_layout
from steadystep.kernels.precision import Rounding, compensated
from steadystep.kernels.update import Pass, Update, math_dtype
from steadystep.rule import Rule
from steadystep.tracing.ops import Number, isfinite, sqrt, where

BACKENDS = ("eager", "numba", "triton")
"""The names that `backend=` accepts; None chooses for each tensor the fastest that can do it."""

_FASTEST = {"cpu": "numba", "cuda": "triton"}


class Kind(NamedTuple):
    """What the tensors of one pass have in common."""

    backend: str
    device: torch.device
    dtype: torch.dtype


_LONGEST = 1 << 12
"""GradientSet whose sizes one program of a kernel can hold."""


class NormPass(Protocol):
    """The measuring pass over tensors of one kind and certain sizes, by a compiled backend."""

    def run(self, addresses: np.ndarray) -> tuple[Number, Number]:
        """Norms and largest magnitudes of the dense tensors there, in float64; NaN or inf if an element is."""
        ...


def check_backend(name: str | None) -> None:
    """Raise a ValueError unless there is such a backend."""
    if name is not None and name not in BACKENDS:
        accepted = ", ".join(map(repr, BACKENDS))
        raise ValueError(f"backend is {name!r}: it must be {accepted}, or None for the fastest that fits")


def measure(tensors: GradientSet, transforms: Sequence[Transform] = (), backend: str | None = None) -> GradNorms:
    """One pass over the gradients, as `transforms` leave them: norms and peaks, judged in float64."""
    if not transforms and tensors.contiguous and _all_compiled(tensors, backend):
        norms, peaks = tensors.prepared["measuring"].run(tensors.addresses)
    else:
        gradients = [apply_transforms(transforms, gradient, index) for index, gradient in enumerate(tensors.gradients)]
        norms, peaks = _mixed_sizes(gradients, backend)
    return GradNorms(*_whole(norms, peaks, tensors), tensors, tuple(transforms), backend)


def passes(
    rule: Rule,
    updates: Sequence[Update],
    rounding: Rounding,
    home: torch.device,
    backend: str | None,
    bounded: bool = False,
) -> list[Pass]:
    """The passes that write these updates, where decisions are made on the device `home`.

    `bounded` says that a clipper limits the size of whole updates.

    Raises:
        ValueError: if a backend is forced that cannot update one of the tensors, with the reason.
    """
    groups: dict[Kind, list[Update]] = {}
    for update in updates:
        parameter = update.parameter
        name = backend or _FASTEST.get(parameter.device.type, "eager")
        obstacle = _obstacle(name, update, rounding, home, bounded or rule.sums is not None) if name != "eager" else ""
        if obstacle and backend:
            raise ValueError(
                f"backend={backend!r} cannot update a parameter of shape {tuple(update.whole.shape)} {obstacle}: leave "
                "backend out, and such a parameter is updated by the eager one"
            )
        kind = Kind("eager" if obstacle else name, parameter.device, parameter.dtype)
        groups.setdefault(kind, []).append(update)
    return [_pass(kind.backend)(rule, group) for kind, group in groups.items()]


def deferral(tensors: GradientSet, made: Sequence[Pass], backend: str | None) -> CapturedStep | None:
    """How steps over these tensors, by the passes made for them, can be deferred; None where they cannot."""
    kind = _common_kind(tensors.gradients, backend)
    if kind is None or kind.backend == "eager" or tensors.sharded or len(tensors.gradients) > _LONGEST:
        return None
    if not all(isinstance(one, _pass(kind.backend)) for one in made):
        return None
    if kind.backend == "triton":
        from steadystep.kernels.cuda.capture import CUDACapturedStep

        return CUDACapturedStep(tensors, made)
    from steadystep.kernels.cpu.capture import CPUCapturedStep

    return CPUCapturedStep(tensors, made)


def _pass(backend: str) -> type[Pass]:
    if backend == "triton":
        from steadystep.kernels.cuda import update_pass as applying
    elif backend == "numba":
        from steadystep.kernels.cpu import update_pass as applying
    else:
        return eager.Eager
    return applying.Compiled


def _obstacle(backend: str, update: Update, rounding: Rounding, home: torch.device, adds_up: bool) -> str:
    """Why a compiled backend cannot update a tensor; empty if it can."""
    parameter = update.parameter
    cannot_run = _cannot_run(backend, parameter.device)
    if cannot_run:
        return cannot_run
    if home.type != parameter.device.type:
        return f"on {parameter.device} while others are on {home}"
    if not is_compiled_type(backend, parameter.dtype):
        return f"of {parameter.dtype}"
    if compensated(parameter.dtype, rounding) or (rounding == "stochastic" and parameter.dtype == torch.bfloat16):
        return f"with rounding={rounding!r}"
    if adds_up and is_sharded(update.whole):
        return "in shards, over which something has to be added up"
    if not (is_dense(parameter) and same_layout(parameter, update.state)):
        return "whose elements do not fill a stretch of memory"
    if any(state.dtype != math_dtype(parameter) for state in update.state):
        return "whose state has another precision"
    return ""


def _cannot_run(backend: str, device: torch.device) -> str:
    if backend == "triton":
        return obstacle_to_triton(device)
    return "" if device.type == "cpu" else f"on {device}"


def _kind(gradient: torch.Tensor, backend: str | None) -> Kind:
    """How a gradient is measured."""
    device, dtype = gradient.device, gradient.dtype
    name = backend or _FASTEST.get(device.type, "eager")
    can = name != "eager" and is_compiled_type(name, dtype) and not _cannot_run(name, device)
    return Kind(name if can else "eager", device, dtype)


def _common_kind(gradients: Sequence[torch.Tensor], backend: str | None) -> Kind | None:
    """How all gradients are measured; None where that differs."""
    kinds = {_kind(gradient, backend) for gradient in gradients}
    return kinds.pop() if len(kinds) == 1 else None


def _all_compiled(tensors: GradientSet, backend: str | None) -> bool:
    """Whether one compiled pass can measure all gradients; prepares it."""
    if "measuring" not in tensors.prepared:
        gradients = tensors.gradients
        kind = _common_kind(gradients, backend)
        compiled = kind if kind is not None and kind.backend != "eager" else None
        tensors.prepared["measuring"] = _measuring(compiled, [x.numel() for x in gradients]) if compiled else None
    return tensors.prepared["measuring"] is not None


def _measuring(kind: Kind, sizes: Sequence[int]) -> NormPass:
    if kind.backend == "triton":
        from steadystep.kernels.cuda import norm_kernel as measuring

        return measuring.NormPass(kind.dtype, tuple(sizes), kind.device)
    from steadystep.kernels.cpu.norm_kernel import NormPass

    return NormPass(kind.dtype, tuple(sizes))


def _mixed_sizes(gradients: Sequence[torch.Tensor], backend: str | None) -> tuple[Number, Number]:
    """Norms and peaks of tensors of several types or devices, in the order given."""
    sizes: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * len(gradients)
    kinds: dict[Kind, list[int]] = {}
    for index, gradient in enumerate(gradients):
        kind = _kind(gradient, backend)
        if kind.backend == "eager":
            sizes[index] = eager.sizes(gradient)
        else:
            kinds.setdefault(kind, []).append(index)
    for kind, indices in kinds.items():
        dense = [
            gradient if is_dense(gradient) else gradient.contiguous()
            for gradient in map(gradients.__getitem__, indices)
        ]
        addresses = np.array([gradient.data_ptr() for gradient in dense], np.int64)
        measured = _measuring(kind, [gradient.numel() for gradient in dense]).run(addresses)
        for index, *pair in zip(indices, *map(torch.as_tensor, measured), strict=True):
            sizes[index] = (pair[0], pair[1])
    found = [pair for pair in sizes if pair is not None]
    return _gather([norm for norm, _ in found]), _gather([peak for _, peak in found])


def _gather(values: Sequence[torch.Tensor]) -> Number:
    """One float64 vector where decisions are made: NumPy if all are on a CPU, else on the first other device."""
    home = next((value.device for value in values if value.device.type != "cpu"), torch.device("cpu"))
    vector = torch.stack([value.to(home, torch.float64, non_blocking=True) for value in values])
    return vector.numpy() if home.type == "cpu" else vector


def _whole(norms: Number, peaks: Number, tensors: GradientSet) -> tuple[Number, Number]:
    """Norms and peaks of whole tensors, from those of this rank's shards."""
    if not tensors.sharded:
        return norms, peaks
    largest = over_ranks(where(isfinite(peaks), peaks, math.inf), tensors.parameters)
    scale = where(isfinite(largest) & (largest > 0), largest, 1.0)
    whole = scale * sqrt(over_shards((norms / scale) ** 2, tensors.parameters))
    return where(isfinite(largest), whole, largest), largest
