"""Images that cannot be read: each is logged, and too many in one split raise an error."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from steadystep.lab.tasks.data import BrokenDataError
from steadystep.lab.tasks.image_decode import EncodedImage, UnreadableImageError, decode, file_name, read

if TYPE_CHECKING:
    from PIL.Image import Image

LIMIT = 10
"""The default number of images of a split that may be broken."""

_log = logging.getLogger(__name__)


class BrokenImage(NamedTuple):
    """One image that cannot be read."""

    position: int  # its index in the split
    name: str  # of its file; "" if it has none
    reason: str


def readable(position: int, image: EncodedImage | None) -> "Image | BrokenImage":
    """Return the decoded image at this position of a split, or why it cannot be read."""
    try:
        return decode(read(image))
    except UnreadableImageError as error:
        return BrokenImage(position, file_name(image), str(error))


class BrokenImages:
    """The broken images of one split that have been found so far."""

    def __init__(self, split: str, limit: int) -> None:
        self._split, self._limit = split, limit
        self._positions: set[int] = set()

    def __len__(self) -> int:
        return len(self._positions)

    def add(self, images: Iterable[BrokenImage]) -> None:
        """Log a warning for each of these images that is new.

        Raises:
            BrokenDataError: If there are more broken images than the limit.
        """
        for broken in images:
            if broken.position in self._positions:
                continue
            self._positions.add(broken.position)
            label = f"image {broken.position} of {self._split}{f' ({broken.name})' if broken.name else ''}"
            if len(self) > self._limit:
                raise BrokenDataError(
                    f"{label} cannot be read: {broken.reason}; it is broken image number {len(self)}, and at most "
                    f"{self._limit} are tolerated: replace the broken images, or download the data set again"
                )
            _log.warning(
                "%s cannot be read: %s; it is replaced by the next readable image (%d of at most %d)",
                label, broken.reason, len(self), self._limit,
            )  # fmt: skip
