"""A step on a CPU that is written down as a whole, and then decided by one call of a kernel."""

from collections.abc import Sequence
from typing import Any

import torch

from steadystep.gradients.gradient_set import GradientSet
from steadystep.kernels.capture import CapturedStep, Written, are_same
from steadystep.kernels.cpu.graph_kernel import Program
from steadystep.kernels.cpu.norm_kernel import NormPass
from steadystep.kernels.update import Pass
from steadystep.tracing.graph import Graph


class CPUCapturedStep(CapturedStep):
    """The steps over CPU tensors, decided in the same numbers, bit for bit, whether they are written down or not.

    Writing takes longer than deciding one step. So it is done where a step follows that has the same inputs: at the
    second one, and not while a schedule changes more than the learning rate.
    """

    def __init__(self, tensors: GradientSet, passes: Sequence[Pass]) -> None:
        gradients = tensors.gradients
        sizes = tuple(x.numel() for x in gradients)
        self._measuring = NormPass(gradients[0].dtype, sizes)
        self._seen: Sequence[Any] = ()
        self._repeats = True
        norms, largest = torch.empty((2, len(sizes)), dtype=torch.float64)
        self._measured_into = norms.numpy(), largest.numpy()
        super().__init__(tensors, norms, largest, passes)

    def is_worth_it(self, inputs: Sequence[Any]) -> bool:
        if not self._repeats:
            return False
        seen, self._seen = self._seen, inputs
        return are_same(seen, inputs)

    def keep(self, written: Written) -> None:
        super().keep(written)
        self._repeats = written.can_repeat

    def run(self, formula: Graph) -> None:
        self._check_layout()
        if formula.kernel is None:
            formula.kernel = Program(formula)
        self._measuring.run_into(*self._measured_into, self._tensors.addresses)
        formula.kernel.run()
        for action in formula.afterwards:
            action()
