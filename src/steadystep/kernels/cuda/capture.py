"""A step on one device that is written down as a whole, and then run by a kernel for each of its passes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from steadystep.gradients.gradient_set import GradientSet
from steadystep.kernels.capture import CapturedStep
from steadystep.kernels.cuda.graph_kernel import decide
from steadystep.kernels.cuda.norm_kernel import NormPass
from steadystep.kernels.cuda.runtime import is_captured, keep_for_graphs, upload
from steadystep.kernels.update import Pass
from steadystep.tracing.graph import Graph, words


class CUDACapturedStep(CapturedStep):
    """The steps over tensors on one device, all of whose decisions are one kernel."""

    def __init__(self, tensors: GradientSet, passes: Sequence[Pass]) -> None:
        gradients = tensors.gradients
        self._last: tuple[np.ndarray, torch.Tensor] | None = None  # what the device was told last, and where that is
        self._device = gradients[0].device
        self._measuring = NormPass(gradients[0].dtype, tuple(x.numel() for x in gradients), self._device)
        self._sizes = self._measuring.memory()
        super().__init__(tensors, self._sizes.norms, self._sizes.largest, passes)

    def is_worth_it(self, inputs: Sequence[Any]) -> bool:
        """Always: writing down a step takes less time than starting a hundred kernels."""
        return True

    def run(self, formula: Graph) -> None:
        """Measure, compute the formula, and do what waits for it; nothing is read back."""
        tensors = self._tensors
        self._check_layout()
        addresses, rest = self._told(np.concatenate([tensors.addresses, words(formula)]))
        keep_for_graphs(self._device, addresses, rest, *formula.tensors)
        formula.gradients, formula.aligned = addresses, not (tensors.addresses % 16).any()
        self._measuring.start(addresses, formula.aligned, self._sizes)
        decide(formula, rest)
        for action in formula.afterwards:
            action()

    def _told(self, told: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradients' addresses and the formula's words on the device, where they often are from the last step."""
        if self._last is not None and np.array_equal(told, self._last[0]):
            uploaded = self._last[1]
        else:
            uploaded = upload(told, self._device)
            # What a graph uploads is there only when it is replayed.
            self._last = None if is_captured(self._device) else (told, uploaded)
        count = len(self._tensors.gradients)
        return uploaded[:count], uploaded[count:]
