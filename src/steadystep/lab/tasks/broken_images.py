"""Images that cannot be read: named, counted, and endured up to a limit."""

import logging
from collections.abc import Iterable
from typing import NamedTuple

from steadystep.lab.tasks.data import BrokenDataError

LIMIT = 10
"""How many images of a split may be broken, unless the task says otherwise."""

_log = logging.getLogger(__name__)


class Broken(NamedTuple):
    """One image that cannot be read."""

    place: int
    name: str  # its file's, where it has one
    why: str


class BrokenImages:
    """Those of one split that were met so far."""

    def __init__(self, split: str, limit: int) -> None:
        self._split, self._limit = split, limit
        self._places: set[int] = set()

    def __len__(self) -> int:
        return len(self._places)

    def note(self, found: Iterable[Broken]) -> None:
        """Say each of them once.

        Raises:
            BrokenDataError: where there are more than the limit.
        """
        for broken in found:
            if broken.place in self._places:
                continue
            self._places.add(broken.place)
            said = f"image {broken.place} of {self._split}{f' ({broken.name})' if broken.name else ''}"
            if len(self) > self._limit:
                raise BrokenDataError(
                    f"{said} cannot be read: {broken.why}; it is number {len(self)} and up to {self._limit} are "
                    "endured: replace the broken images, or load the data set anew"
                )
            _log.warning(
                "%s cannot be read: %s; the next readable one stands in for it (%d of at most %d)",
                said, broken.why, len(self), self._limit,
            )  # fmt: skip
