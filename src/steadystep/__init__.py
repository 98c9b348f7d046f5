"""Optimizers with clipping inside a guarded step, and the study that proves what keeps training stable.

>>> import torch, steadystep
>>> model = torch.nn.Linear(4, 1)
>>> optimizer = steadystep.Adam(model.parameters(), lr=1e-3, clip=1.0)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steadystep.clipping import (
        AGC,
        AdaGC,
        AutoClip,
        ClipNorm,
        Clipper,
        ClipUpdate,
        ClipValue,
        SkipOutlier,
        SmoothClip,
        ZClip,
    )
    from steadystep.decay import decay_groups
    from steadystep.guarded_step import NonFiniteGradientError, TooManySkipsError
    from steadystep.guarding import clip_gradients, guard
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
    from steadystep.profile import NormProfile, norm_profile

__version__ = "0.1.0"

__all__ = [
    "AGC",
    "LAMB",
    "SGD",
    "AMSBound",
    "AMSGrad",
    "AdaBelief",
    "AdaBound",
    "AdaGC",
    "Adagrad",
    "Adam",
    "AdamW",
    "AutoClip",
    "ClipNorm",
    "ClipUpdate",
    "ClipValue",
    "Clipper",
    "Lion",
    "NAdam",
    "NonFiniteGradientError",
    "NormProfile",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "SkipOutlier",
    "SmoothClip",
    "StableAdamW",
    "TooManySkipsError",
    "Yogi",
    "ZClip",
    "clip_gradients",
    "decay_groups",
    "guard",
    "norm_profile",
]

_MODULES = {
    "clipping": (
        "AGC",
        "AdaGC",
        "AutoClip",
        "ClipNorm",
        "ClipUpdate",
        "ClipValue",
        "Clipper",
        "SkipOutlier",
        "SmoothClip",
        "ZClip",
    ),
    "decay": ("decay_groups",),
    "guarded_step": (
        "NonFiniteGradientError",
        "TooManySkipsError",
    ),
    "guarding": (
        "clip_gradients",
        "guard",
    ),
    "optimizers": (
        "AMSBound",
        "AMSGrad",
        "AdaBelief",
        "AdaBound",
        "Adagrad",
        "Adam",
        "AdamW",
        "LAMB",
        "Lion",
        "NAdam",
        "Optimizer",
        "RAdam",
        "RMSprop",
        "SGD",
        "StableAdamW",
        "Yogi",
    ),
    "profile": (
        "NormProfile",
        "norm_profile",
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


# Names are looked up when first used: the command line must answer without waiting for torch.
def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'steadystep' has no attribute {name!r}")
    value = getattr(import_module(f"steadystep.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
