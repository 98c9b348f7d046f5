"""How far a step of any optimizer moves each parameter: exact for small ones, estimated from a sample of large ones."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from steadystep.gradients.gradient_set import local_reals
from steadystep.memory.access import owns_memory, why_untouchable
from steadystep.memory.fingerprint import Fingerprint, addresses_of
from steadystep.memory.layout import is_dense
from steadystep.recorder.sample_kernel import KINDS, sample_kernel
from steadystep.tracing.ops import Number

SAMPLE = 4096
"""The number of elements of a parameter that are compared."""

RUN = 64
"""Elements that follow each other in a sample, so that whole lines of the cache are read."""


class MovedSample(Protocol):
    """Copies a fixed sample of each parameter before a step, and compares it after the step."""

    def look(self) -> None:
        """Copy the sample before a step."""
        ...

    def moved(self) -> Number:
        """Return the norm of what has been added to each parameter since, or an estimate of it."""
        ...


def moved_sample(parameters: Sequence[torch.Tensor]) -> MovedSample:
    """Return the sample of some parameters, by a compiled kernel where it can read all of them."""
    dtypes = {parameter.dtype for parameter in parameters}
    readable = all(
        parameter.is_cpu and not why_untouchable(parameter) and is_dense(parameter) for parameter in parameters
    )
    compiled = readable and len(dtypes) == 1 and dtypes <= KINDS.keys()
    return CompiledSample(parameters) if compiled else TorchSample(parameters)


class CompiledSample:
    """A sample of dense CPU parameters of one dtype."""

    def __init__(self, parameters: Sequence[torch.Tensor]) -> None:
        self._parameters = parameters
        self._like = Fingerprint(parameters)
        spans, first = [], 0
        for size in (parameter.numel() for parameter in parameters):
            runs = SAMPLE // RUN if size > SAMPLE else 1
            length = RUN if size > SAMPLE else size
            spans.append((first, runs, size // runs, length))
            first += runs * length
        self._spans = np.array(spans, np.int64).reshape(-1, 4)
        sampled = np.maximum(self._spans[:, 1] * self._spans[:, 3], 1)
        self._factors = np.sqrt([parameter.numel() for parameter in parameters] / sampled)
        dtype = parameters[0].dtype
        self._kernel, self._copies = sample_kernel(dtype), torch.empty(first, dtype=dtype, device="cpu").numpy()
        self._norms = np.empty(len(parameters))
        self._known = addresses_of(parameters)
        self._addresses = np.array(self._known, np.int64)

    def look(self) -> None:
        """Copy the sample before a step."""
        self._locate()
        self._kernel(self._addresses, self._spans, self._copies, self._norms, False)

    def moved(self) -> np.ndarray:
        """Return the norm of what has been added to each parameter since, or an estimate of it."""
        self._locate()
        self._kernel(self._addresses, self._spans, self._copies, self._norms, True)
        return self._norms * self._factors

    def _locate(self) -> None:
        """Follow parameters whose `.data` was replaced."""
        addresses = addresses_of(self._parameters)
        if addresses != self._known:
            if not self._like.matches(self._parameters):
                self.__init__(self._parameters)  # others in all but name: nothing was seen of them before
                return
            self._known, self._addresses = addresses, np.array(addresses, np.int64)


class TorchSample:
    """A sample of any parameters."""

    def __init__(self, parameters: Sequence[torch.Tensor]) -> None:
        self._parameters = parameters
        self._choose()

    def _choose(self) -> None:
        reals = [local_reals(parameter.detach()) for parameter in self._parameters]
        self._views = [_sample(tensor) for tensor in reals]
        self._movable = [parameter for parameter in self._parameters if owns_memory(parameter)]
        self._addresses = addresses_of(self._movable)
        self._before = [torch.empty_like(view, memory_format=torch.contiguous_format) for view in self._views]
        shares = [tensor.numel() / max(view.numel(), 1) for tensor, view in zip(reals, self._views, strict=True)]
        self._factors = torch.tensor(shares, dtype=torch.float64, device="cpu").sqrt()

    def look(self) -> None:
        """Copy the sample before a step."""
        if addresses_of(self._movable) != self._addresses:  # its .data was replaced
            self._choose()
        torch._foreach_copy_(self._before, self._views)  # pyright: ignore[reportPrivateImportUsage]

    def moved(self) -> Number:
        """Return the norm of what has been added to each parameter since, or an estimate of it."""
        changes = torch._foreach_sub(self._views, self._before)  # pyright: ignore[reportPrivateImportUsage]
        norms = torch.stack([torch.linalg.vector_norm(change, dtype=torch.float64) for change in changes])
        if norms.is_cpu:
            return (norms * self._factors).numpy()
        self._factors = self._factors.to(norms.device)
        return norms * self._factors


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    """Return a view of evenly spread elements of a tensor, or all of it if it is small or not dense in memory."""
    if tensor.numel() <= SAMPLE or not is_dense(tensor):
        return tensor
    flat = torch.as_strided(tensor, (tensor.numel(),), (1,), tensor.storage_offset())
    runs = SAMPLE // RUN
    return flat[: flat.numel() // runs * runs].view(runs, -1)[:, :RUN]
