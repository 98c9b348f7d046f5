"""Optimizers with clipping inside a guarded step, and the study that proves what keeps training stable.

>>> import torch, steadystep
>>> model = torch.nn.Linear(4, 1)
>>> optimizer = steadystep.Adam(model.parameters(), lr=1e-3, clip=1.0)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steadystep.clipping import ClipNorm, Clipper, ClipValue
    from steadystep.guarded_step import NonFiniteGradientError, TooManySkipsError
    from steadystep.optimizers import (
        LAMB,
        SGD,
        AdaBelief,
        AdaBound,
        Adagrad,
        Adam,
        AdamW,
        AMSBound,
        AMSGrad,
        Lion,
        NAdam,
        Optimizer,
        RAdam,
        RMSprop,
        StableAdamW,
        Yogi,
    )

__version__ = "0.1.0"

_HOME = {
    "ClipNorm": "clipping",
    "ClipValue": "clipping",
    "Clipper": "clipping",
    "NonFiniteGradientError": "guarded_step",
    "TooManySkipsError": "guarded_step",
    "SGD": "optimizers",
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "Adagrad": "optimizers",
    "RMSprop": "optimizers",
    "NAdam": "optimizers",
    "AMSGrad": "optimizers",
    "AdaBelief": "optimizers",
    "Yogi": "optimizers",
    "AdaBound": "optimizers",
    "AMSBound": "optimizers",
    "RAdam": "optimizers",
    "LAMB": "optimizers",
    "Lion": "optimizers",
    "StableAdamW": "optimizers",
    "Optimizer": "optimizers",
}

__all__ = [
    "LAMB",
    "SGD",
    "AMSBound",
    "AMSGrad",
    "AdaBelief",
    "AdaBound",
    "Adagrad",
    "Adam",
    "AdamW",
    "ClipNorm",
    "ClipValue",
    "Clipper",
    "Lion",
    "NAdam",
    "NonFiniteGradientError",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "StableAdamW",
    "TooManySkipsError",
    "Yogi",
]


# Names are looked up when first used: the command line must answer without waiting for torch.
def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'steadystep' has no attribute {name!r}")
    value = getattr(import_module(f"steadystep.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
