"""The interface of a backend: the tensors of an update, and the pass that updates them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from steadystep.clipping.transforms import Transform
from steadystep.gradients.gradient_set import GradientSet
from steadystep.memory.access import why_untouchable
from steadystep.memory.layout import same_layout
from steadystep.rule import Rule
from steadystep.tracing.ops import Number
from steadystep.tracing.verdict import Verdict


@dataclass(frozen=True)
class Update:
    """One tensor to be updated: its gradient, its parameter, and its state in the order of the rule's slots."""

    index: int  # in `gradients`
    gradients: GradientSet  # of the whole step; every step fills it with its own gradients
    parameter: torch.Tensor
    state: Sequence[torch.Tensor]
    whole: torch.Tensor  # the parameter as the user gave it, of which `parameter` may be one shard

    shares_memory: bool = False  # whether any of these tensors overlaps another one of the step

    @property
    def gradient(self) -> torch.Tensor:
        """The gradient of the current step."""
        return self.gradients.gradients[self.index]

    @property
    def is_direct(self) -> bool:
        """Whether a kernel can read the gradient where it is, because it has the dtype and layout of the parameter."""
        gradient, parameter = self.gradient, self.parameter
        same_dtype = gradient.dtype == parameter.dtype
        return same_dtype and not why_untouchable(gradient) and same_layout(parameter, (gradient,))

    @property
    def count(self) -> int:
        """The number of real numbers in the whole parameter."""
        return self.whole.numel() * (2 if self.whole.is_complex() else 1)


class UpdatePass(Protocol):
    """The pass of a rule over some tensors, run by one backend."""

    def __init__(self, rule: Rule, updates: Sequence[Update]) -> None: ...

    nonfinite: bool
    """Whether the last update wrote anything that is not finite, if the host knows it; see `flag`."""

    @property
    def updates(self) -> Sequence[Update]:
        """The tensors of the pass."""
        ...

    @property
    def flag(self) -> torch.Tensor | None:
        """A number on an accelerator that an update sets to 1 if it writes anything that is not finite, or None."""
        ...

    def update_norms(self) -> Number:
        """Return the Euclidean norm of the last update of each tensor, 0 before the first."""
        ...

    def apply(
        self,
        coefficients: Mapping[str, Number],
        transforms: Sequence[Transform],
        values: Mapping[str, Any],
        verdict: Verdict,
        update_bound: float | None,
    ) -> Number:
        """Write the update of each tensor, if the verdict accepts the step.

        Args:
            coefficients: the keyword arguments of the rule's update.
            transforms: what clipping does to the gradients.
            values: the hyperparameters of the group by name.
            verdict: whether the step is applied.
            update_bound: the largest root mean square of a tensor's update before the learning rate, or None.

        Returns:
            Whether the bound limited any update.
        """
        ...


def has_nonfinite(update: Update) -> bool:
    """Return whether the parameter or its state has an element that is not finite; this waits for the device."""
    return not all(bool(torch.isfinite(tensor).all()) for tensor in (update.parameter, *update.state))
