"""Look up optimizers, clippers and tasks by name, ignoring case; an unknown name raises an error with the closest."""

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
    return "norm" if name.strip().lower() == "clip" else _resolve("clipper", name, CLIPS)


def match_name(name: str, accepted: Iterable[str]) -> str | None:
    """Return the accepted name that equals this one, ignoring case and spaces around it, or None.

    >>> match_name(" sgd", ["SGD", "Adam"]), match_name("SDG", ["SGD", "Adam"])
    ('SGD', None)
    """
    return {key.lower(): key for key in accepted}.get(name.strip().lower())


def closest_name(name: str, accepted: Iterable[str]) -> str | None:
    """Return the accepted name that looks most like this one, or None if none does.

    >>> closest_name("adamm", ["SGD", "Adam"])
    'Adam'
    """
    by_lower = {key.lower(): key for key in accepted}
    closest = get_close_matches(name.strip().lower(), by_lower, n=1)
    return by_lower[closest[0]] if closest else None


def _resolve(kind: str, name: str, accepted: Iterable[str]) -> str:
    matching = match_name(name, accepted)
    if matching is None:
        closest = closest_name(name, accepted)
        hint = f": did you mean {closest}?" if closest else ":"
        raise UserError(f"there is no {kind} {name!r}{hint} choose one of {', '.join(accepted)}")
    return matching
