"""Encoded images as they come over the network, one after the other."""

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import torch

from steadystep.lab.tasks.broken_images import LIMIT, Broken, BrokenImages
from steadystep.lab.tasks.image_decode import UnreadableImageError, centre_view, decode, random_view, read, to_tensor
from steadystep.lab.tasks.pipeline import collated
from steadystep.lab.tasks.task import Batch

BUFFER = 10_000
"""Images that wait to be drawn at random: what `datasets` calls the buffer of a shuffled IterableDataset."""


class StreamedImages:
    """A split that has no places to jump to: an epoch is the files in an order of its own through a shuffled buffer.

    The order is the epoch's, not the trial's: all seeds see the same one, and an image's place is its position in it.
    A stream that is begun anew in mid-epoch reads what was seen already and drops it undecoded, up to the same image.

    Args:
        rows: what `datasets` calls an IterableDataset, with undecoded `image` and `label`.
        examples: how many there are.
        name, size, random, limit: as of `EncodedImages`.
        buffer: images in the shuffled buffer of a training epoch. Default 10,000.
    """

    def __init__(
        self, rows: Any, examples: int, *, name: str, size: int, random: bool, limit: int = LIMIT, buffer: int = BUFFER
    ) -> None:
        self._rows, self._examples, self._size, self._random, self._buffer = rows, examples, size, random, buffer
        self.broken = BrokenImages(name, limit)

    def __len__(self) -> int:
        return self._examples

    def stream(self, order: torch.Tensor, batch: int, epoch: int) -> Iterator[Batch]:
        """The last `len(order)` images of an epoch that drops its last, incomplete batch, or all; `order` is not kept.

        Raises:
            BrokenDataError: where more images cannot be read than the limit.
        """
        first = max(0, self._examples // batch * batch - len(order))
        shown = islice(self._readable(first, epoch), len(order))
        while views := list(islice(shown, batch)):
            places, images, labels = zip(*views, strict=True)
            yield collated([to_tensor(image) for image in images], labels, places)

    def _readable(self, first: int, epoch: int) -> Iterator[tuple[int, Any, int]]:
        """Position, view and label from this position on; the next readable image stands in for a broken one."""
        rows = self._rows.shuffle(seed=epoch, buffer_size=self._buffer) if self._random else self._rows
        waiting = []
        # After the last image the first ones again, in case the last are broken.
        for number, row in enumerate(chain(rows.skip(first), rows), first):
            place = number % self._examples
            waiting.append(place)
            try:
                image = decode(read(row["image"]))
            except UnreadableImageError as error:
                self.broken.note([Broken(place, row["image"]["path"] or "", str(error))])
                continue
            for shown in waiting:
                view = random_view(image, self._size, shown, epoch) if self._random else centre_view(image, self._size)
                yield shown, view, row["label"]
            waiting.clear()
