"""A step on one device that is written down as a whole, and then run by a kernel for each of its passes."""

from collections.abc import Sequence

import numpy as np
import torch

from steadystep.clipping.measured import Measured
from steadystep.clipping.stages import Stage
from steadystep.deferred import CannotDefer, Formula, words
from steadystep.kernels.cuda.applying import Compiled
from steadystep.kernels.cuda.deciding import decide
from steadystep.kernels.cuda.measuring import Measuring
from steadystep.kernels.cuda.uploading import is_captured, keep_for_graphs, upload
from steadystep.kernels.written import Written
from steadystep.maths import Number
from steadystep.tensors import Tensors


class Deferral:
    """The steps over some tensors, whose gradients are of one dtype and on one device."""

    def __init__(self, tensors: Tensors, passes: Sequence[Compiled]) -> None:
        gradients = tensors.gradients
        self.written: Written | None = None
        self._last: tuple[np.ndarray, torch.Tensor] | None = None  # what the device was told last, and where that is
        self._tensors, self._device = tensors, gradients[0].device
        self._measuring = Measuring(gradients[0].dtype, tuple(x.numel() for x in gradients), self._device)
        self._sizes = self._measuring.memory()
        strides = {index: stride for one in passes for index, stride in one.strides().items()}
        self._strides = [strides[index] for index in range(len(gradients))]
        self._contiguous = all(parameter.is_contiguous() for parameter in tensors.parameters)

    def measured(self, formula: Formula, stages: Sequence[Stage] = ()) -> Measured:
        """The gradients' sizes, to be measured when the formula is run."""
        if stages:
            raise CannotDefer("gradients are to be measured as clippers leave them")
        norms, peaks = map(formula.vector, (self._sizes.norms, self._sizes.largest))
        return Measured(norms, peaks, self._tensors)

    def kept(self, formula: Formula, number: Number) -> torch.Tensor:
        """Where a vector of the formula will be on the device."""
        if number is formula.vector(self._sizes.norms):
            return self._sizes.norms
        place = torch.empty(formula.length, dtype=torch.float64, device=self._device)
        formula.store(place, number, -1)
        return place

    def run(self, formula: Formula) -> None:
        """Measure, compute the formula, and do what waits for it; nothing is read back."""
        tensors = self._tensors
        if not (tensors.contiguous if self._contiguous else self._lie_as_expected()):
            raise CannotDefer("a gradient does not lie as its parameter does")
        addresses, rest = self._told(np.concatenate([tensors.addresses, words(formula)]))
        keep_for_graphs(self._device, addresses, rest, *formula.tensors)
        formula.gradients, formula.aligned = addresses, not (tensors.addresses % 16).any()
        self._measuring.start(addresses, formula.aligned, self._sizes)
        decide(formula, rest)
        for action in formula.afterwards:
            action()

    def _lie_as_expected(self) -> bool:
        return list(map(torch.Tensor.stride, self._tensors.gradients)) == self._strides

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
