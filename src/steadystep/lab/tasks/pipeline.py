"""Encoded images by place: read, decoded, cropped and collated as they are needed, by worker processes if any.

What a batch holds depends on the places and the epoch alone, so neither the number of workers nor an interruption in
mid-epoch changes it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psutil
import torch
from torch.utils.data import DataLoader, Dataset

from steadystep.lab.system.fork_server import worker_context
from steadystep.lab.tasks.broken_images import LIMIT, Broken, BrokenImages
from steadystep.lab.tasks.image_decode import UnreadableImageError, centre_view, decode, random_view, read, to_tensor
from steadystep.lab.tasks.task import Batch

MOST_WORKERS = 8


def idle_cores() -> int:
    """Cores that nobody uses, besides one for the training itself: from 0 to 8."""
    return max(0, min(MOST_WORKERS, (psutil.cpu_count() or 1) - math.ceil(psutil.getloadavg()[0]) - 1))


class EncodedImages:
    """A split of images that are decoded anew in every epoch; a stream shows crops of `size` x `size` pixels.

    Args:
        rows: what `datasets` calls a Dataset, with undecoded `image` and `label`.
        name: what messages call the split.
        size: height and width of the crops.
        random: random crops, mirrored or not; else the centres.
        workers: processes that decode. Default: as many as there are idle cores when a stream begins, or 0, which is
            in this process.
        limit: how many images may be broken. The next readable one stands in for a broken one.
    """

    def __init__(
        self, rows: Any, *, name: str, size: int, random: bool, workers: int | None = None, limit: int = LIMIT
    ) -> None:
        self._rows, self._size, self._random, self._workers, self._limit = rows, size, random, workers, limit
        self.broken = BrokenImages(name, limit)

    def __len__(self) -> int:
        return len(self._rows)

    def stream(self, order: torch.Tensor, batch: int, epoch: int) -> Iterator[Batch]:
        """The batches of the examples at these places, in this order; the last may be smaller.

        Raises:
            BrokenDataError: where more images cannot be read than the limit.
        """
        workers = idle_cores() if self._workers is None else self._workers
        loader: DataLoader[_Fetched] = DataLoader(
            _Epoch(self._rows, self._size, self._random, self._limit, epoch),
            batch_size=None,  # the places come in batches already, and an item is a whole batch
            sampler=[chosen.tolist() for chosen in order.split(batch)],
            num_workers=workers,
            collate_fn=_as_it_is,
            multiprocessing_context=worker_context() if workers else None,
            generator=torch.Generator(),  # else torch's global random state would be drawn from
        )
        for fetched in loader:
            self.broken.note(fetched.broken)
            yield fetched.batch


class _Fetched(NamedTuple):
    batch: Batch
    broken: tuple[Broken, ...]


class _Epoch(Dataset[_Fetched]):
    """One epoch's images: what a worker gets."""

    def __init__(self, rows: Any, size: int, random: bool, limit: int, epoch: int) -> None:
        self._rows, self._size, self._random, self._limit, self._epoch = rows, size, random, limit, epoch

    def __getitem__(self, places: Sequence[int]) -> _Fetched:
        views, labels, broken = [], [], {}
        for place in places:
            row, image = self._readable(place, broken)
            if image is None:
                break  # no batch; the process that counts them says so
            view = (
                random_view(image, self._size, place, self._epoch) if self._random else centre_view(image, self._size)
            )
            views.append(to_tensor(view))
            labels.append(row["label"])
        return _Fetched(collated(views, labels, places), tuple(broken.values()))

    def _readable(self, place: int, broken: dict[int, Broken]) -> tuple[Any, Any]:
        """The first readable image from this place on, and its row; nothing once more are broken than may be."""
        while len(broken) <= self._limit:
            row = self._rows[place]
            try:
                return row, decode(read(row["image"]))
            except UnreadableImageError as error:
                broken[place] = Broken(place, row["image"]["path"] or "", str(error))
            place = (place + 1) % len(self._rows)
        return None, None


def collated(views: Sequence[torch.Tensor], labels: Sequence[int], places: Sequence[int]) -> Batch:
    """One batch of them; without any views an empty one."""
    x = torch.stack(tuple(views)) if views else torch.empty(0)
    return Batch(x, torch.tensor(labels, dtype=torch.int64), torch.tensor(places, dtype=torch.int64))


def _as_it_is(fetched: Any) -> Any:
    return fetched
