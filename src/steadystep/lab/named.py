"""Optimizers and clippers by the names that a user gives, in any case; a name that there is not gets the nearest."""

from collections.abc import Iterable
from difflib import get_close_matches

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.clips import CLIPS
from steadystep.optimizers import OPTIMIZERS


def optimizer_named(given: str) -> str:
    """The name in `OPTIMIZERS`.

    Raises:
        UserError: if there is none, with the nearest name and all others.

    >>> optimizer_named("adamw")
    'AdamW'
    """
    return _named("optimizer", given, OPTIMIZERS)


def clipper_named(given: str) -> str:
    """The name in `CLIPS`; "clip" is clipping by norm.

    Raises:
        UserError: if there is none, with the nearest name and all others.

    >>> clipper_named("clip"), clipper_named("AGC")
    ('norm', 'agc')
    """
    return "norm" if given.lower() == "clip" else _named("clipper", given, CLIPS)


def _named(what: str, given: str, names: Iterable[str]) -> str:
    known = {name.lower(): name for name in names}
    if given.lower() in known:
        return known[given.lower()]
    near = get_close_matches(given.lower(), known, n=1)
    hint = f": did you mean {known[near[0]]}?" if near else ":"
    raise UserError(f"there is no {what} {given!r}{hint} choose one of {', '.join(known.values())}")
