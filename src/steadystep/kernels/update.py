"""The interface of a backend: the tensors of an update, and the pass that updates them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from steadystep.clipping.transforms import Transform
from steadystep.gradients.gradient_set import GradientSet
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

    @property
    def gradient(self) -> torch.Tensor:
        """The gradient of the current step."""
        return self.gradients.gradients[self.index]

    @property
    def count(self) -> int:
        """The number of real numbers in the whole parameter."""
        return self.whole.numel() * (2 if self.whole.is_complex() else 1)


class UpdatePass(Protocol):
    """The pass of a rule over some tensors, run by one backend."""

    def __init__(self, rule: Rule, updates: Sequence[Update]) -> None: ...

    @property
    def updates(self) -> Sequence[Update]:
        """The tensors of the pass."""
        ...

    def fits(self) -> bool:
        """Return whether the tensors are still where they were when the pass was made; if not, make a new pass."""
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
