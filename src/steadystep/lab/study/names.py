"""Look up optimizers and clippers by name, ignoring case; an unknown name raises an error with the closest match."""

from collections.abc import Iterable
from difflib import get_close_matches

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.clips import CLIPS
from steadystep.optimizers import OPTIMIZERS


def resolve_optimizer(name: str) -> str:
    """Return the key in `OPTIMIZERS` that matches the name, ignoring case.

    Raises:
        UserError: if there is no such optimizer; the message lists the closest name and all names.

    >>> resolve_optimizer("adamw")
    'AdamW'
    """
    return _resolve("optimizer", name, OPTIMIZERS)


def resolve_clipper(name: str) -> str:
    """Return the key in `CLIPS` that matches the name, ignoring case; "clip" means clipping by norm.

    Raises:
        UserError: if there is no such clipper; the message lists the closest name and all names.

    >>> resolve_clipper("clip"), resolve_clipper("AGC")
    ('norm', 'agc')
    """
    return "norm" if name.lower() == "clip" else _resolve("clipper", name, CLIPS)


def _resolve(kind: str, name: str, accepted: Iterable[str]) -> str:
    by_lower = {key.lower(): key for key in accepted}
    if name.lower() in by_lower:
        return by_lower[name.lower()]
    closest = get_close_matches(name.lower(), by_lower, n=1)
    hint = f": did you mean {by_lower[closest[0]]}?" if closest else ":"
    raise UserError(f"there is no {kind} {name!r}{hint} choose one of {', '.join(by_lower.values())}")
