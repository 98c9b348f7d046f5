"""Scalar references of the optimizers. A file in this folder adds its references to the table when it is imported."""

import importlib
import pkgutil

from reference.optimizers.registry import CASES, REFERENCES, VARIANTS

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["CASES", "REFERENCES", "VARIANTS"]
