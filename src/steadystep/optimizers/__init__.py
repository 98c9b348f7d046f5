"""Optimizers, one per file, each with its equation, its rule and its class.

Each import is a row of `OPTIMIZERS`, the table that drives the generic tests, the documentation and the command line.
Its order is theirs.
"""

# isort: off
from steadystep.optimizers.base import Optimizer as Optimizer
from steadystep.optimizers.sgd import SGD as SGD
from steadystep.optimizers.adagrad import Adagrad as Adagrad
from steadystep.optimizers.rmsprop import RMSprop as RMSprop
from steadystep.optimizers.adam import Adam as Adam
from steadystep.optimizers.adamw import AdamW as AdamW
from steadystep.optimizers.nadam import NAdam as NAdam
from steadystep.optimizers.amsgrad import AMSGrad as AMSGrad
from steadystep.optimizers.adabelief import AdaBelief as AdaBelief
from steadystep.optimizers.yogi import Yogi as Yogi
from steadystep.optimizers.adabound import AdaBound as AdaBound
from steadystep.optimizers.adabound import AMSBound as AMSBound
from steadystep.optimizers.radam import RAdam as RAdam
from steadystep.optimizers.lamb import LAMB as LAMB
from steadystep.optimizers.lion import Lion as Lion
from steadystep.optimizers.adan import Adan as Adan
from steadystep.optimizers.stableadamw import StableAdamW as StableAdamW

OPTIMIZERS: dict[str, type[Optimizer]] = {
    name: kind
    for name, kind in globals().items()
    if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer
}
"""Every optimizer by its name."""
