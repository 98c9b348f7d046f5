"""A formula that is kept from step to step."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import is_
from typing import Any

import torch

from steadystep.deferred import Formula


def are_same(inputs: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether two steps are given the same objects."""
    return len(inputs) == len(others) and all(map(is_, inputs, others))


@dataclass
class Written:
    """The formula of a step, to be run again as long as what Python gave to it stays the same."""

    formula: Formula
    norms: torch.Tensor  # of the gradients, once the formula is run
    inputs: Sequence[Any]

    @cached_property
    def can_repeat(self) -> bool:
        """Whether the inputs can only change by becoming other objects, or at an address that the formula reads."""
        return bool(self.inputs) and all(map(self._is_fixed, self.inputs))

    def holds(self, inputs: Sequence[Any]) -> bool:
        """Whether these are the same objects."""
        return are_same(inputs, self.inputs)

    def _is_fixed(self, value: Any) -> bool:
        if isinstance(value, torch.Tensor):
            return any(value is tensor for tensor in self.formula.tensors)
        if isinstance(value, tuple):
            return all(map(self._is_fixed, value))
        made = getattr(value, "__dataclass_params__", None)
        return (made is not None and made.frozen) or isinstance(value, float | int | str | None)
