"""Steps on a CPU that are captured as graphs, each evaluated by one call to a compiled function."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from steadystep.gradients.gradient_set import GradientSet
from steadystep.kernels.capture import CapturedStep, same_objects
from steadystep.kernels.cpu.graph_kernel import GraphProgram
from steadystep.kernels.cpu.norm_kernel import NormPass
from steadystep.tracing.graph import Graph


class CPUCapturedStep(CapturedStep):
    """Captured steps over CPU tensors. A replayed step computes the same numbers as a guarded step, bit for bit.

    Capturing takes longer than a single guarded step. So a step is captured when it has the same inputs as the one
    before it, and never while a schedule changes more than the learning rate.
    """

    def __init__(self, gradients: GradientSet) -> None:
        sizes = tuple(x.numel() for x in gradients.gradients)
        norms, abs_max = torch.empty((2, len(sizes)), dtype=torch.float64, device="cpu")
        measure = NormPass(gradients.gradients[0].dtype, sizes).into(norms.numpy(), abs_max.numpy())
        super().__init__(gradients, norms, abs_max, measure)
        self._last_inputs: Sequence[Any] = ()

    def should_capture(self, inputs: Sequence[Any]) -> bool:
        """Return whether the last step that was not replayed had the same inputs."""
        last, self._last_inputs = self._last_inputs, inputs
        return same_objects(last, inputs)

    def _compile(self, graph: Graph) -> Callable[[Sequence[int]], None]:
        return GraphProgram(graph).run

    def _capture_is_useless(self) -> None:
        self._disable()
