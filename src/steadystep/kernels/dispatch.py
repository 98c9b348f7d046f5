"""Choose the backend that measures and updates a tensor, by its device, dtype and layout, or by name."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch

from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Transform, apply_transforms
from steadystep.gradients.distributed import is_sharded, over_ranks, over_shards
from steadystep.gradients.gradient_set import GradientSet
from steadystep.kernels import eager
from steadystep.kernels.capture import CapturedStep
from steadystep.kernels.cuda.availability import why_unavailable as why_triton_is_unavailable
from steadystep.kernels.precision import COMPACT, Rounding, is_compensated, is_compiled_dtype, math_dtype
from steadystep.kernels.units import measure_units
from steadystep.kernels.update import Update, UpdatePass
from steadystep.memory.access import plain, why_untouchable
from steadystep.memory.layout import is_dense, same_layout
from steadystep.rule import Rule
from steadystep.tracing.ops import Number, isfinite, sqrt, where

BACKENDS = ("eager", "numba", "triton")
"""The names that `backend=` accepts; None chooses for each tensor the fastest that supports it."""

_FASTEST = {"cpu": "numba", "cuda": "triton"}

_MAX_CAPTURED_TENSORS = 1 << 12
"""The largest number of tensors whose norms one program of a kernel can hold."""


class Kind(NamedTuple):
    """The properties that all tensors of one pass have in common."""

    backend: str
    device: torch.device
    dtype: torch.dtype
    stored: torch.dtype | None = None  # the dtype of the state, in an update of tensors that have some


class NormPass(Protocol):
    """The pass of a compiled backend that measures tensors of one kind with fixed sizes."""

    def run(self, addresses: np.ndarray) -> tuple[Number, Number]:
        """Return the norms and largest magnitudes of dense tensors, in float64; not finite if any element is not."""
        ...


def check_backend(name: str | None) -> None:
    """Raise a ValueError unless `name` is None or names a backend."""
    if name is not None and name not in BACKENDS:
        accepted = ", ".join(map(repr, BACKENDS))
        raise ValueError(f"backend is {name!r}: it must be {accepted}, or None for the fastest that fits")


def measure(gradients: GradientSet, transforms: Sequence[Transform] = (), backend: str | None = None) -> GradNorms:
    """Measure the norms of all gradients after `transforms`, in one pass and in float64."""
    if not transforms and gradients.contiguous and _all_compiled(gradients, backend):
        norms, abs_max = gradients.prepared["norm_pass"].run(gradients.addresses)
    else:
        transformed = [apply_transforms(transforms, x, index) for index, x in enumerate(gradients.gradients)]
        norms, abs_max = _norms_of_mixed(transformed, backend)
    units = partial(measure_units, prepared=gradients.prepared, backend=backend)
    return GradNorms(*_of_whole_tensors(norms, abs_max, gradients), gradients, tuple(transforms), units)


def are_finite(tensors: GradientSet) -> Number:
    """Return whether each tensor is finite, on all ranks where it is sharded. None of them may be empty."""
    if "peak_pass" not in tensors.prepared:
        kind = _common_kind(tensors.gradients, None) if tensors.contiguous and not tensors.sharded else None
        peak_pass = None
        if kind is not None and kind.backend == "numba":
            from steadystep.kernels.cpu.peak_kernel import PeakPass

            peak_pass = PeakPass(kind.dtype, tuple(tensor.numel() for tensor in tensors.gradients))
        tensors.prepared["peak_pass"] = peak_pass
    peak_pass = tensors.prepared["peak_pass"]
    return isfinite(measure(tensors).abs_max if peak_pass is None else peak_pass.run(tensors.addresses))


def update_passes(
    rule: Rule,
    updates: Sequence[Update],
    rounding: Rounding,
    home: torch.device,
    backend: str | None,
    bounded: bool = False,
) -> list[UpdatePass]:
    """Make the passes that perform these updates.

    Args:
        rule: the rule that all of them follow.
        updates: the tensors.
        rounding: how half precision is rounded.
        home: the device that decides.
        backend: the name of a backend, or None for the fastest.
        bounded: whether a clipper limits the root mean square of updates.

    Raises:
        ValueError: if `backend` cannot update one of the tensors, with the reason.
    """
    groups: dict[Kind, list[Update]] = {}
    for update in updates:
        parameter = update.parameter
        name = backend or _FASTEST.get(parameter.device.type, "eager")
        reduces = bounded or rule.sums is not None
        obstacle = "" if name == "eager" else _why_not(name, update, rounding, home, reduces)
        # Tensors that share memory are updated one after the other, whatever was asked for.
        if obstacle and backend and not update.shares_memory:
            raise ValueError(
                f"backend={backend!r} cannot update a parameter of shape {tuple(update.whole.shape)} {obstacle}: leave "
                "backend out, and such a parameter is updated by the eager one"
            )
        stored = update.state[0].dtype if update.state else None
        kind = Kind("eager" if obstacle else name, parameter.device, parameter.dtype, stored)
        groups.setdefault(kind, []).append(update)
    return [_update_pass(kind.backend)(rule, group) for kind, group in groups.items()]


def captured_step(gradients: GradientSet, passes: Sequence[UpdatePass], backend: str | None) -> CapturedStep | None:
    """Return the object that captures steps over these gradients and passes, or None if they cannot be captured."""
    kind = _common_kind(gradients.gradients, backend)
    if kind is None or kind.backend == "eager" or gradients.sharded:
        return None
    if len(gradients.gradients) > _MAX_CAPTURED_TENSORS:
        return None
    if not all(isinstance(one, _update_pass(kind.backend)) for one in passes):
        return None
    if not all(update.is_direct for one in passes for update in one.updates):
        return None
    if kind.backend == "triton":
        from steadystep.kernels.cuda.capture import CUDACapturedStep

        return CUDACapturedStep(gradients)
    from steadystep.kernels.cpu.capture import CPUCapturedStep

    return CPUCapturedStep(gradients)


def _update_pass(backend: str) -> type[UpdatePass]:
    if backend == "triton":
        from steadystep.kernels.cuda.update_pass import CUDAUpdatePass

        return CUDAUpdatePass
    if backend == "numba":
        from steadystep.kernels.cpu.update_pass import CPUUpdatePass

        return CPUUpdatePass
    return eager.EagerUpdatePass


def _why_not(backend: str, update: Update, rounding: Rounding, home: torch.device, reduces: bool) -> str:
    """Return why a compiled backend cannot update a tensor, or "" if it can."""
    parameter = update.parameter
    unavailable = _why_unavailable(backend, parameter.device)
    if unavailable:
        return unavailable
    for tensor in (parameter, update.gradient, *update.state):
        untouchable = why_untouchable(tensor)
        if untouchable:
            return untouchable
    if update.shares_memory:
        return "that shares memory with another tensor of the step"
    if home.type != parameter.device.type:
        return f"on {parameter.device} while others are on {home}"
    if not is_compiled_dtype(backend, parameter.dtype):
        return f"of {parameter.dtype}"
    if is_compensated(parameter.dtype, rounding) or (rounding == "stochastic" and parameter.dtype == torch.bfloat16):
        return f"with rounding={rounding!r}"
    if reduces and is_sharded(update.whole):
        return "in shards, over which something has to be added up"
    if not (is_dense(parameter) and same_layout(parameter, update.state)):
        return "whose elements are not dense in memory"
    stored = {state.dtype for state in update.state}
    if len(stored) > 1 or not stored <= {math_dtype(parameter), COMPACT}:
        return "whose state has another precision"
    return ""


def _why_unavailable(backend: str, device: torch.device) -> str:
    if backend == "triton":
        return why_triton_is_unavailable(device)
    return "" if device.type == "cpu" else f"on {device}"


def _kind(gradient: torch.Tensor, backend: str | None) -> Kind:
    """Return the backend, device and dtype used to measure a gradient."""
    device, dtype = gradient.device, gradient.dtype
    name = backend or _FASTEST.get(device.type, "eager")
    supported = (
        name != "eager"
        and is_compiled_dtype(name, dtype)
        and not _why_unavailable(name, device)
        and not why_untouchable(gradient)
    )
    return Kind(name if supported else "eager", device, dtype)


def _common_kind(gradients: Sequence[torch.Tensor], backend: str | None) -> Kind | None:
    """Return how all gradients are measured, or None if they are measured in different ways."""
    kinds = {_kind(gradient, backend) for gradient in gradients}
    return kinds.pop() if len(kinds) == 1 else None


def _all_compiled(gradients: GradientSet, backend: str | None) -> bool:
    """Prepare one compiled pass over all gradients, and return whether there is one."""
    if "norm_pass" not in gradients.prepared:
        kind = _common_kind(gradients.gradients, backend)
        compiled = kind if kind is not None and kind.backend != "eager" else None
        sizes = [x.numel() for x in gradients.gradients]
        gradients.prepared["norm_pass"] = _norm_pass(compiled, sizes) if compiled else None
    return gradients.prepared["norm_pass"] is not None


def _norm_pass(kind: Kind, sizes: Sequence[int]) -> NormPass:
    if kind.backend == "triton":
        from steadystep.kernels.cuda import norm_kernel

        return norm_kernel.NormPass(kind.dtype, tuple(sizes), kind.device)
    from steadystep.kernels.cpu import norm_kernel

    return norm_kernel.NormPass(kind.dtype, tuple(sizes))


def _norms_of_mixed(gradients: Sequence[torch.Tensor], backend: str | None) -> tuple[Number, Number]:
    """Return the norms and largest magnitudes of tensors of several dtypes or devices, in the order given."""
    found: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * len(gradients)
    kinds: dict[Kind, list[int]] = {}
    for index, gradient in enumerate(gradients):
        kind = _kind(gradient, backend)
        if kind.backend == "eager":
            norm, abs_max = eager.norm_and_abs_max(gradient)
            found[index] = plain(norm), plain(abs_max)
        else:
            kinds.setdefault(kind, []).append(index)
    for kind, indices in kinds.items():
        dense = [
            gradient if is_dense(gradient) else gradient.contiguous()
            for gradient in map(gradients.__getitem__, indices)
        ]
        addresses = np.array([gradient.data_ptr() for gradient in dense], np.int64)
        measured = _norm_pass(kind, [gradient.numel() for gradient in dense]).run(addresses)
        for index, *pair in zip(indices, *map(_as_tensor, measured), strict=True):
            found[index] = (pair[0], pair[1])
    pairs = [pair for pair in found if pair is not None]
    return _gather([norm for norm, _ in pairs]), _gather([abs_max for _, abs_max in pairs])


def _as_tensor(values: Number) -> torch.Tensor:
    # torch.as_tensor would move it to the default device.
    return values if isinstance(values, torch.Tensor) else torch.from_numpy(values)


def _gather(values: Sequence[torch.Tensor]) -> Number:
    """Return a float64 vector: a NumPy array if all values are on a CPU, else a tensor on the first other device."""
    home = next((value.device for value in values if value.device.type != "cpu"), torch.device("cpu"))
    vector = torch.stack([value.to(home, torch.float64, non_blocking=True) for value in values])
    return vector.numpy() if home.type == "cpu" else vector


def _of_whole_tensors(norms: Number, abs_max: Number, gradients: GradientSet) -> tuple[Number, Number]:
    """Combine the norms and largest magnitudes of this rank's shards with those of the other ranks."""
    if not gradients.sharded:
        return norms, abs_max
    largest = over_ranks(where(isfinite(abs_max), abs_max, math.inf), gradients.parameters)
    scale = where(isfinite(largest) & (largest > 0), largest, 1.0)
    whole = scale * sqrt(over_shards((norms / scale) ** 2, gradients.parameters))
    return where(isfinite(largest), whole, largest), largest
