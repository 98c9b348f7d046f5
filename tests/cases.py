"""The tables that drive the generic tests: every optimizer, every clipper."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

import steadystep


@dataclass(frozen=True)
class OptimizerCase:
    """One optimizer with its options, and torch's own where the definition is torch's."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    peer: type[torch.optim.Optimizer] | None = None

    def make(self, params: Any, **more: Any) -> steadystep.Optimizer:
        return getattr(steadystep, self.name)(params, **{**self.options, **more})

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{name}={value}" for name, value in self.options.items())])


OPTIMIZERS = (
    OptimizerCase("SGD", {"lr": 0.1}, torch.optim.SGD),
    OptimizerCase("SGD", {"lr": 0.1, "momentum": 0.9}, torch.optim.SGD),
    OptimizerCase("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05}, torch.optim.SGD),
    OptimizerCase("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}, torch.optim.SGD),
    OptimizerCase("Adam", {"lr": 0.01}, torch.optim.Adam),
    OptimizerCase("Adam", {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}, torch.optim.Adam),
    OptimizerCase("Adam", {"lr": 0.01, "maximize": True}, torch.optim.Adam),
    OptimizerCase("AdamW", {"lr": 0.01}, torch.optim.AdamW),
    OptimizerCase("AdamW", {"lr": 0.01, "weight_decay": 0.3, "maximize": True}, torch.optim.AdamW),
)


@dataclass(frozen=True)
class ClipperCase:
    """One clipper, and which of the properties that a clipper may have are its own."""

    make: Callable[[], steadystep.Clipper]
    keeps_direction: bool = False

    def __str__(self) -> str:
        return repr(self.make())


CLIPPERS = (
    ClipperCase(lambda: steadystep.ClipNorm(1.0), keeps_direction=True),
    ClipperCase(lambda: steadystep.ClipNorm(0.5, scope="group")),
    ClipperCase(lambda: steadystep.ClipNorm(0.5, scope="parameter")),
    ClipperCase(lambda: steadystep.ClipValue(0.3)),
)
