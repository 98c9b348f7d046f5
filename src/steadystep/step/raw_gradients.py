"""The gradients as they are before a step changes them in place, to be put back."""

from collections.abc import Sequence

import torch


class RawGradients:
    """Holds the gradients of some parameters, and copies of those that are about to change."""

    def __init__(self, parameters: Sequence[torch.Tensor]) -> None:
        self._held = [(parameter, parameter.grad) for parameter in parameters]
        self._copies: dict[int, torch.Tensor] = {}

    def keep(self, index: int) -> None:
        """Copy the gradient at an index, unless that is done already."""
        gradient = self._held[index][1]
        if index not in self._copies and gradient is not None:
            self._copies[index] = gradient.clone()

    def keep_all(self) -> None:
        """Copy all of them, for a step that may change any."""
        for index in range(len(self._held)):
            self.keep(index)

    def put_back(self) -> None:
        """Give each parameter its gradient again, with the elements that it had."""
        for index, (parameter, gradient) in enumerate(self._held):
            if gradient is not None and index in self._copies:
                gradient.copy_(self._copies[index])
            if parameter.grad is not gradient:  # a step can replace it, or set it to None
                parameter.grad = gradient
