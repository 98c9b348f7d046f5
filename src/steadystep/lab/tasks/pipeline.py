"""A split of encoded images that are read, decoded, cropped and collated on demand, optionally in worker processes.

The content of a batch depends only on the indices and the epoch, so neither the number of workers nor an interruption
in the middle of an epoch changes it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psutil
import torch
from torch.utils.data import DataLoader, Dataset

from steadystep.lab.system.fork_server import worker_context
from steadystep.lab.tasks.broken_images import LIMIT, BrokenImage, BrokenImages, readable
from steadystep.lab.tasks.data import BrokenDataError
from steadystep.lab.tasks.image_decode import to_tensor, view_of
from steadystep.lab.tasks.splits import Batch, Rows, all_rows

MAX_WORKERS = 8


def idle_cores() -> int:
    """Return the number of idle cores after leaving one for the training itself: from 0 to 8."""
    return max(0, min(MAX_WORKERS, (psutil.cpu_count() or 1) - math.ceil(psutil.getloadavg()[0]) - 1))


class EncodedImages:
    """A split of images that are decoded again in every epoch; a stream yields crops of `size` x `size` pixels.

    Args:
        rows: A `datasets.Dataset` with the columns `image`, not decoded, and `label`.
        name: The name of the split in messages.
        size: The height and width of the crops.
        random: Whether crops are random, with random horizontal flips, or centre crops.
        workers: The number of worker processes for decoding; 0 decodes in this process. Default: as many as there are
            idle cores when a stream begins, see `idle_cores`.
        limit: How many images may be broken. A broken image is replaced by the next readable one.
    """

    def __init__(
        self, rows: Any, *, name: str, size: int, random: bool, workers: int | None = None, limit: int = LIMIT
    ) -> None:
        self._rows, self._size, self._random, self._workers, self._limit = rows, size, random, workers, limit
        self._name, self.broken = name, BrokenImages(name, limit)

    def __len__(self) -> int:
        return len(self._rows)

    def stream(self, order: torch.Tensor, batch: int, epoch: int, rows: Rows = all_rows) -> Iterator[Batch]:
        """Yield these rows of the batches; see `Split.stream`. The images of other rows are not read.

        Raises:
            BrokenDataError: If more images than the limit cannot be read, or none can.
        """
        workers = idle_cores() if self._workers is None else self._workers
        loader: DataLoader[_Fetched] = DataLoader(
            _Epoch(self._rows, self._size, self._random, self._limit, epoch),
            batch_size=None,  # the sampler yields the indices of whole batches
            sampler=[whole[rows(len(whole))].tolist() for whole in order.split(batch)],
            num_workers=workers,
            collate_fn=_identity,
            multiprocessing_context=worker_context() if workers else None,
            generator=torch.Generator(),  # otherwise the loader would draw from torch's global random state
        )
        for fetched in loader:
            self.broken.add(fetched.broken)
            if len(self.broken) == len(self):
                raise BrokenDataError(f"none of the {len(self)} images of {self._name} can be read")
            yield fetched.batch


class _Fetched(NamedTuple):
    batch: Batch
    broken: tuple[BrokenImage, ...]


class _Epoch(Dataset[_Fetched]):
    """The images of one epoch, as the data set of a `DataLoader`."""

    def __init__(self, rows: Any, size: int, random: bool, limit: int, epoch: int) -> None:
        self._rows, self._size, self._random, self._limit, self._epoch = rows, size, random, limit, epoch

    def __getitem__(self, indices: Sequence[int]) -> _Fetched:
        views, labels, broken = [], [], {}
        for index in indices:
            row, image = self._readable(index, broken)
            if image is None:
                break  # the batch is incomplete; the main process counts the broken images and raises the error
            views.append(to_tensor(view_of(image, self._size, index, self._epoch, random=self._random)))
            labels.append(row["label"])
        return _Fetched(collate(views, labels, indices), tuple(broken.values()))

    def _readable(self, index: int, broken: dict[int, BrokenImage]) -> tuple[Any, Any]:
        """Return the row and the image at the first readable index from this one on.

        Broken images on the way are added to `broken`. Returns None twice once there are more of them than the limit,
        or nothing else.
        """
        while len(broken) <= min(self._limit, len(self._rows) - 1):
            row = self._rows[index]
            image = readable(index, row["image"])
            if not isinstance(image, BrokenImage):
                return row, image
            broken[index] = image
            index = (index + 1) % len(self._rows)
        return None, None


def collate(views: Sequence[torch.Tensor], labels: Sequence[int], indices: Sequence[int]) -> Batch:
    """Stack images into one batch; the batch is empty if there are no images."""
    x = torch.stack(tuple(views)) if views else torch.empty(0)
    return Batch(x, torch.tensor(labels, dtype=torch.int64), torch.tensor(indices, dtype=torch.int64))


def _identity(fetched: Any) -> Any:
    return fetched
