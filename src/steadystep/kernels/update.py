"""What a step is made of: the tensors that an update writes, and the passes that write them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from steadystep.clipping.transforms import Transform
from steadystep.gradients.gradient_set import GradientSet
from steadystep.rule import Rule
from steadystep.tracing.ops import Number


@dataclass(frozen=True)
class Update:
    """One tensor to be updated: its gradient, its parameter, its state in the order of the rule's slots."""

    index: int  # among the measured gradients
    tensors: GradientSet  # all that are measured; every step fills in its gradients
    parameter: torch.Tensor
    state: Sequence[torch.Tensor]
    whole: torch.Tensor  # the parameter as the user gave it: of which this may be one shard

    @property
    def gradient(self) -> torch.Tensor:
        return self.tensors.gradients[self.index]

    @property
    def count(self) -> int:
        """Real numbers in the whole parameter."""
        return self.whole.numel() * (2 if self.whole.is_complex() else 1)


class Pass(Protocol):
    """A rule over some tensors, by one backend."""

    def __init__(self, rule: Rule, updates: Sequence[Update]) -> None: ...

    @property
    def updates(self) -> Sequence[Update]:
        """Of these tensors."""
        ...

    def fits(self) -> bool:
        """Whether the tensors still lie where they did when the pass was made; else it has to be made anew."""
        ...

    def apply(
        self,
        coefficients: Mapping[str, Number],
        transforms: Sequence[Transform],
        values: Mapping[str, Any],
        accept: Number,
        update_bound: float | None,
    ) -> Number:
        """Write the rule's update of each tensor. A refused step writes what was there before.

        `values` are the group's hyperparameters by name; `update_bound` limits the root mean square of each tensor's
        update before the learning rate. Returns whether it limited any.
        """
        ...


def math_dtype(tensor: torch.Tensor) -> torch.dtype:
    """In which precision a tensor is updated and its state is kept: float64 as it is, all else in float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
