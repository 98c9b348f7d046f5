"""A split of decoded images of equal size, which are cropped when a batch is made."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from steadystep.lab.tasks.crops import random_crop
from steadystep.lab.tasks.resample import crop_and_resize, resize_and_centre_crop
from steadystep.lab.tasks.splits import Batch, Rows, all_rows


@dataclass(frozen=True)
class CroppedArrays:
    """Whole images and their labels; a stream yields crops of `size` x `size` pixels, either random or centre crops."""

    pixels: torch.Tensor  # (examples, channels, height, width), uint8
    y: torch.Tensor  # (examples,), int64
    size: int
    random: bool

    def __len__(self) -> int:
        return len(self.y)

    def stream(self, order: torch.Tensor, batch: int, epoch: int, rows: Rows = all_rows) -> Iterator[Batch]:
        """Yield these rows of the batches; see `Split.stream`."""
        height, width = self.pixels.shape[2:]
        for batch_indices in order.split(batch):
            indices = batch_indices[rows(len(batch_indices))]
            whole = self.pixels.index_select(0, indices)
            if self.random:
                crops = [random_crop(width, height, index, epoch) for index in indices.tolist()]
                x = crop_and_resize(whole, crops, self.size)
            else:
                x = resize_and_centre_crop(whole, self.size)
            yield Batch(x, self.y.index_select(0, indices), indices)
