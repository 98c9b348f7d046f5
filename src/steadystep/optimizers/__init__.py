"""Optimizers: one a file, its equation, its rule and its class. `OPTIMIZERS` is the table of them all."""

from steadystep.optimizers.adabelief import AdaBelief
from steadystep.optimizers.adabound import AdaBound, AMSBound
from steadystep.optimizers.adagrad import Adagrad
from steadystep.optimizers.adam import Adam
from steadystep.optimizers.adamw import AdamW
from steadystep.optimizers.amsgrad import AMSGrad
from steadystep.optimizers.base import Optimizer
from steadystep.optimizers.lamb import LAMB
from steadystep.optimizers.lion import Lion
from steadystep.optimizers.nadam import NAdam
from steadystep.optimizers.radam import RAdam
from steadystep.optimizers.rmsprop import RMSprop
from steadystep.optimizers.sgd import SGD
from steadystep.optimizers.stableadamw import StableAdamW
from steadystep.optimizers.yogi import Yogi

_ALL = (
    SGD, Adagrad, RMSprop, Adam, AdamW, NAdam, AMSGrad, AdaBelief, Yogi, AdaBound, AMSBound, RAdam, LAMB, Lion,
    StableAdamW,
)  # fmt: skip

OPTIMIZERS: dict[str, type[Optimizer]] = {optimizer.__name__: optimizer for optimizer in _ALL}

__all__ = [
    "LAMB",
    "OPTIMIZERS",
    "SGD",
    "AMSBound",
    "AMSGrad",
    "AdaBelief",
    "AdaBound",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "StableAdamW",
    "Yogi",
]
