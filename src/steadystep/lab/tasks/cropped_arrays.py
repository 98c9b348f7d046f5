"""Images of one size, decoded beforehand, cropped as they are needed."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from steadystep.lab.tasks.crops import random_crop
from steadystep.lab.tasks.resample import crop_and_resize, resize_and_centre_crop
from steadystep.lab.tasks.task import Batch


@dataclass(frozen=True)
class CroppedArrays:
    """Whole images and their labels; a stream shows crops of `size` x `size` pixels: random ones, or the centres."""

    pixels: torch.Tensor  # (examples, channels, height, width), uint8
    y: torch.Tensor  # (examples,), int64
    size: int
    random: bool

    def __len__(self) -> int:
        return len(self.y)

    def stream(self, order: torch.Tensor, batch: int, epoch: int) -> Iterator[Batch]:
        """The batches of the examples at these places, in this order; the last may be smaller."""
        height, width = self.pixels.shape[2:]
        for chosen in order.split(batch):
            whole = self.pixels.index_select(0, chosen)
            if self.random:
                crops = [random_crop(width, height, place, epoch) for place in chosen.tolist()]
                x = crop_and_resize(whole, crops, self.size)
            else:
                x = resize_and_centre_crop(whole, self.size)
            yield Batch(x, self.y.index_select(0, chosen), chosen)
