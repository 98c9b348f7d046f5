"""The hyperparameters of a parameter group as single numbers, in the form that a rule's scalars use."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from steadystep.tracing.graph import Graph
from steadystep.tracing.ops import Number

SCHEDULED = "lr"
"""The option that schedulers set before every step: a captured step reads it anew."""


class Hyperparameters(Mapping[str, Any]):
    """A group's hyperparameters by name, with betas as beta1, beta2, and so on, and with the rule's counters.

    Attributes:
        counters: the rule's counters after the present step.
        graph: the graph that the numbers are to be nodes of, while a step is captured.
    """

    def __init__(self, group: Mapping[str, Any]) -> None:
        self._group = group
        self._betas = {f"beta{number}": number - 1 for number in range(1, 1 + len(group.get("betas", ())))}
        self.counters: Mapping[str, Number] = {}
        self.graph: Graph | None = None

    def __getitem__(self, name: str) -> Any:
        if name in self.counters:
            return self.counters[name]
        value = self._group["betas"][self._betas[name]] if name in self._betas else self._group[name]
        if isinstance(value, float) and self.graph is None:
            return value
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            if value.is_cpu:
                return value.item()
            return value if self.graph is None else self.graph.load(value)
        if name == SCHEDULED and self.graph is not None:
            return self.graph.option(self._group, name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter([*(name for name in self._group if name != "betas"), *self._betas, *self.counters])

    def __len__(self) -> int:
        return sum(1 for _ in self)
