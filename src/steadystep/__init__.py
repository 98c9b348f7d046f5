"""Optimizers with clipping inside a guarded step, and a study of what keeps training stable.

>>> import torch, steadystep
>>> model = torch.nn.Linear(4, 1)
>>> optimizer = steadystep.Adam(model.parameters(), lr=1e-3, clip=1.0)
"""

from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steadystep.api import *  # noqa: F403

__version__ = "0.1.0"


# The public names are looked up when one is first used: the command line must answer without waiting for torch.
def __getattr__(name: str) -> object:
    if name == "__all__":
        return sorted(_public())
    if name.startswith("_") or name not in _public():
        raise AttributeError(f"module 'steadystep' has no attribute {name!r}{_guess(name)}")
    return _public()[name]


def _guess(name: str) -> str:
    by_lower = {known.lower(): known for known in ({} if name.startswith("_") else _public())}
    close = get_close_matches(name.lower(), by_lower, n=1)
    return f": did you mean {by_lower[close[0]]}?" if close else ""


def __dir__() -> list[str]:
    return sorted({*globals(), *_public()})


def _public() -> dict[str, object]:
    names = vars(import_module("steadystep.api"))
    return {
        name: value for name, value in names.items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
