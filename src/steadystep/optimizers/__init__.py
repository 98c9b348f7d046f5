"""Optimizers: one a file, its equation, its rule and its class. `OPTIMIZERS` is the table that drives the tests."""

from steadystep.optimizers.adam import Adam
from steadystep.optimizers.adamw import AdamW
from steadystep.optimizers.base import Optimizer
from steadystep.optimizers.sgd import SGD

OPTIMIZERS: dict[str, type[Optimizer]] = {cls.__name__: cls for cls in (SGD, Adam, AdamW)}

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "Optimizer"]
