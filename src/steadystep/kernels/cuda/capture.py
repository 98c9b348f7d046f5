"""Steps on a GPU that are captured as graphs, each evaluated by one kernel."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from steadystep.gradients.gradient_set import GradientSet
from steadystep.kernels.capture import CapturedStep
from steadystep.kernels.cuda.graph_kernel import evaluate, kernel_of
from steadystep.kernels.cuda.norm_kernel import NormPass
from steadystep.kernels.cuda.runtime import is_captured, retain_for_cuda_graphs, upload
from steadystep.tracing.graph import Graph


class GradientAddresses(NamedTuple):
    """The addresses of the gradients of a step."""

    pointers: torch.Tensor  # (tensors,), int64, on the device
    aligned: bool  # whether all addresses are multiples of 16 bytes


class CUDACapturedStep(CapturedStep):
    """Captured steps over tensors on one device. One kernel evaluates the whole graph, and nothing is read back."""

    def __init__(self, gradients: GradientSet) -> None:
        first = gradients.gradients[0]
        norm_pass = NormPass(first.dtype, tuple(x.numel() for x in gradients.gradients), first.device)
        self._device = first.device
        self._last_upload: tuple[np.ndarray, torch.Tensor] | None = None
        found = norm_pass.allocate()

        def measure(addresses: GradientAddresses) -> None:
            norm_pass.run_into(found, *addresses)

        super().__init__(gradients, found.norms, found.abs_max, measure)

    def should_capture(self, inputs: Sequence[Any]) -> bool:
        """Return True: capturing a step takes less time than launching a hundred kernels."""
        return True

    def _compile(self, graph: Graph) -> Callable[[Sequence[int]], None]:
        kernel = kernel_of(graph)
        return lambda _: evaluate(graph, kernel, self._arguments)  # which `_locate` has copied to the device

    def _locate(self, graph: Graph) -> GradientAddresses:
        """Copy the addresses of the gradients and the arguments of the graph to the device, if they have changed."""
        gradients = self._gradients
        table, count = np.concatenate([gradients.addresses, graph.arguments()]), len(gradients.gradients)
        if self._last_upload is not None and np.array_equal(table, self._last_upload[0]):
            uploaded = self._last_upload[1]
        else:
            uploaded = upload(table, self._device)
            # An upload that a CUDA graph captures only happens when that graph is replayed.
            self._last_upload = None if is_captured(self._device) else (table, uploaded)
        pointers, self._arguments = uploaded[:count], uploaded[count:]
        retain_for_cuda_graphs(self._device, pointers, self._arguments, *graph.tensors)
        return GradientAddresses(pointers, not (gradients.addresses % 16).any())
