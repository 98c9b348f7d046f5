"""Tables of every optimizer and every clipper, over which the generic tests run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

import steadystep


@dataclass(frozen=True)
class OptimizerCase:
    """An optimizer with its options, and torch's class if both have the same definition."""

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
    OptimizerCase("SGD", {"lr": 0.1, "momentum": 0.9, "variant": "velocity"}),
    OptimizerCase("SGD", {"lr": 0.1, "momentum": 0.9, "variant": "velocity", "nesterov": True}),
    OptimizerCase("Adagrad", {"lr": 0.1, "lr_decay": 0.01, "initial_accumulator_value": 0.1}, torch.optim.Adagrad),
    OptimizerCase("RMSprop", {"lr": 0.01}, torch.optim.RMSprop),
    OptimizerCase("RMSprop", {"lr": 0.01, "centered": True}, torch.optim.RMSprop),
    OptimizerCase("RMSprop", {"lr": 0.01, "momentum": 0.9}, torch.optim.RMSprop),
    OptimizerCase("RMSprop", {"lr": 0.01, "momentum": 0.9, "centered": True}, torch.optim.RMSprop),
    OptimizerCase("Adam", {"lr": 0.01}, torch.optim.Adam),
    OptimizerCase("Adam", {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}, torch.optim.Adam),
    OptimizerCase("Adam", {"lr": 0.01, "maximize": True}, torch.optim.Adam),
    OptimizerCase("Adam", {"lr": 0.01, "amsgrad": True}, torch.optim.Adam),
    OptimizerCase("Adam", {"lr": 0.01, "variant": "epsilon_hat"}),
    OptimizerCase("Adam", {"lr": 0.01, "variant": "epsilon_hat", "amsgrad": True}),
    OptimizerCase("AdamW", {"lr": 0.01}, torch.optim.AdamW),
    OptimizerCase("AdamW", {"lr": 0.01, "weight_decay": 0.3, "maximize": True}, torch.optim.AdamW),
    OptimizerCase("AdamW", {"lr": 0.01, "variant": "independent"}),
    OptimizerCase("AdamW", {"lr": 0.01, "amsgrad": True}, torch.optim.AdamW),
    OptimizerCase("AdamW", {"lr": 0.01, "variant": "independent", "amsgrad": True}),
    OptimizerCase("NAdam", {"lr": 0.01}, torch.optim.NAdam),
    OptimizerCase("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}, torch.optim.NAdam),
    OptimizerCase("AMSGrad", {"lr": 0.01}),
    OptimizerCase("AMSGrad", {"lr": 0.01, "variant": "paper"}),
    OptimizerCase("AMSGrad", {"lr": 0.01, "variant": "corrected"}),
    OptimizerCase("AdaBelief", {"lr": 0.01}),
    OptimizerCase("AdaBelief", {"lr": 0.01, "variant": "paper"}),
    OptimizerCase("Yogi", {"lr": 0.01}),
    OptimizerCase("Yogi", {"lr": 0.01, "variant": "paper"}),
    OptimizerCase("Yogi", {"lr": 0.01, "variant": "optax"}),
    OptimizerCase("AdaBound", {"lr": 0.01}),
    OptimizerCase("AdaBound", {"lr": 0.01, "variant": "paper"}),
    OptimizerCase("AMSBound", {"lr": 0.01}),
    OptimizerCase("AMSBound", {"lr": 0.01, "variant": "paper"}),
    OptimizerCase("RAdam", {"lr": 0.01}, torch.optim.RAdam),
    OptimizerCase("RAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}, torch.optim.RAdam),
    OptimizerCase("RAdam", {"lr": 0.01, "variant": "author", "weight_decay": 0.1}),
    OptimizerCase("RAdam", {"lr": 0.01, "variant": "paper", "weight_decay": 0.1}),
    OptimizerCase("RAdam", {"lr": 0.01, "variant": "paper", "weight_decay": 0.1, "decoupled_weight_decay": True}),
    OptimizerCase("LAMB", {"lr": 0.01, "weight_decay": 0.1}),
    OptimizerCase("LAMB", {"lr": 0.01, "variant": "nvlamb"}),
    OptimizerCase("LAMB", {"lr": 0.01, "rectified": True}),
    OptimizerCase("LAMB", {"lr": 0.01, "variant": "nvlamb", "rectified": True}),
    OptimizerCase("Lion", {"lr": 0.01, "weight_decay": 0.1}),
    OptimizerCase("Adan", {"lr": 0.01, "weight_decay": 0.1}),
    OptimizerCase("Adan", {"lr": 0.01, "weight_decay": 0.1, "no_prox": True}),
    OptimizerCase("StableAdamW", {"lr": 0.01, "weight_decay": 0.1}),
)
"""At least one row for each rule: options that select another rule need another row."""


@dataclass(frozen=True)
class ClipperCase:
    """A clipper and its properties."""

    make: Callable[[], steadystep.Clipper]
    keeps_direction: bool = False  # that of the whole gradient
    idempotent: bool = False  # clipping twice is the same as clipping once

    def __str__(self) -> str:
        return repr(self.make())


CLIPPERS = (
    ClipperCase(lambda: steadystep.ClipNorm(1.0), keeps_direction=True, idempotent=True),
    ClipperCase(lambda: steadystep.ClipNorm(0.5, scope="group"), idempotent=True),
    ClipperCase(lambda: steadystep.ClipNorm(0.5, scope="parameter"), idempotent=True),
    ClipperCase(lambda: steadystep.ClipValue(0.3), idempotent=True),
    ClipperCase(lambda: steadystep.SmoothClip(1.0), keeps_direction=True),
    ClipperCase(lambda: steadystep.AGC(0.05), idempotent=True),
    ClipperCase(lambda: steadystep.AutoClip(25, window=8), keeps_direction=True),
    ClipperCase(lambda: steadystep.ZClip(warmup=4, max_norm=1.0), keeps_direction=True),
    ClipperCase(lambda: steadystep.AdaGC(warmup=4)),
    ClipperCase(lambda: steadystep.ClipUpdate(0.5)),
    ClipperCase(lambda: steadystep.SkipOutlier(window=8, active_after=4), keeps_direction=True, idempotent=True),
)
