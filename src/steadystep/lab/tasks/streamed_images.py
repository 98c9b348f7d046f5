"""A split of encoded images that are streamed over the network."""

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

import torch

from steadystep.lab.tasks.broken_images import LIMIT, BrokenImage, BrokenImages, readable
from steadystep.lab.tasks.image_decode import to_tensor, view_of
from steadystep.lab.tasks.pipeline import collate
from steadystep.lab.tasks.splits import Batch, Rows, all_rows

BUFFER = 10_000
"""Images in the shuffle buffer of a `datasets.IterableDataset`."""


class StreamedImages:
    """A split without random access: every epoch reads the files in a new order, through a shuffle buffer.

    The order depends on the epoch and not on the trial, so it is the same for all seeds. An image's index is its
    position in this order. A stream that is restarted in the middle of an epoch reads the images that were already
    used and drops them without decoding, up to the image where it was interrupted.

    Args:
        rows: A `datasets.IterableDataset` with `image`, not decoded, and `label`.
        examples: The number of images.
        name: The name of the split in messages.
        size: The height and width of the crops.
        random: Whether images are shuffled and their crops random, with random horizontal flips, or centre crops.
        limit: How many images may be broken. A broken image is replaced by the next readable one.
        buffer: The number of images in the shuffle buffer of a training epoch. Default 10,000.
    """

    def __init__(
        self, rows: Any, examples: int, *, name: str, size: int, random: bool, limit: int = LIMIT, buffer: int = BUFFER
    ) -> None:
        self._rows, self._examples, self._size, self._random, self._buffer = rows, examples, size, random, buffer
        self.broken = BrokenImages(name, limit)

    def __len__(self) -> int:
        return self._examples

    def stream(self, order: torch.Tensor, batch: int, epoch: int, rows: Rows = all_rows) -> Iterator[Batch]:
        """Yield these rows of the last `len(order)` images of an epoch, `batch` at a time.

        The images of other rows are read, because a stream has no other way to pass them, but not decoded.
        Only the length of `order` is used, since the stream determines the order itself. The epoch drops its
        last, incomplete batch unless `order` has all images.

        Raises:
            BrokenDataError: If more images than the limit cannot be read.
        """
        first = max(0, self._examples // batch * batch - len(order))
        sizes = [min(batch, len(order) - start) for start in range(0, len(order), batch)]
        shares = [range(size)[rows(size)] for size in sizes]

        def wanted(offset: int) -> bool:
            return offset < len(order) and offset % batch in shares[offset // batch]

        remaining = self._readable(first, epoch, wanted)
        for share in shares:
            views = list(islice(remaining, len(share)))
            indices, images, labels = zip(*views, strict=True) if views else ((), (), ())
            yield collate([to_tensor(image) for image in images], labels, indices)

    def _readable(self, first: int, epoch: int, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Any, int]]:
        """Yield index, view and label of the images from `first` on whose offset from there is wanted.

        A broken image is replaced by the next readable one.
        """
        rows = self._rows.shuffle(seed=epoch, buffer_size=self._buffer) if self._random else self._rows
        pending: list[int] = []
        # The stream wraps around to the first images, in case the last ones are broken.
        for position, row in enumerate(chain(rows.skip(first), rows), first):
            index = position % self._examples
            if wanted(position - first):
                pending.append(index)
            if not pending:
                continue
            image = readable(index, row["image"])
            if isinstance(image, BrokenImage):
                self.broken.add([image])
                continue
            for target in pending:
                yield target, view_of(image, self._size, target, epoch, random=self._random), row["label"]
            pending.clear()
