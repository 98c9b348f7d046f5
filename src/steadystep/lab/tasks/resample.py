"""Crops of whole batches of images of one size, resized with a triangle filter, as tensor code.

The same numbers as Pillow's `crop(...).resize(..., BILINEAR)`, up to the last digit of its fixed-point arithmetic.
"""

from collections.abc import Sequence

import torch

from steadystep.lab.tasks.crops import Crop, resized


def crop_and_resize(pixels: torch.Tensor, crops: Sequence[Crop], size: int) -> torch.Tensor:
    """A crop of each image, resized to a square and mirrored where the crop says so.

    (batch, channels, height, width) in uint8 -> (batch, channels, size, size) in uint8.

    >>> crop_and_resize(torch.tensor([[[[10, 30], [10, 30]]]], dtype=torch.uint8), [Crop(0, 0, 2, 2, True)], 2)
    tensor([[[[30, 10],
              [30, 10]]]], dtype=torch.uint8)
    """
    left, top, width, height, mirrored = torch.tensor(crops).T
    columns = _weights(left, width, pixels.shape[3], size)
    columns = torch.where(mirrored.bool().view(-1, 1, 1), columns.flip(1), columns)
    return _applied(pixels, columns, _weights(top, height, pixels.shape[2], size))


def resize_and_centre_crop(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """The middle of every image after its shorter side became size x 256 / 224: as shapes, see `crop_and_resize`."""
    height, width = pixels.shape[2:]
    start = torch.zeros(1, dtype=torch.int64)
    matrices = []
    for length, target in zip((width, height), resized(width, height, size), strict=True):
        first = (target - size) // 2
        matrices.append(_weights(start, torch.tensor([length]), length, target)[:, first : first + size])
    return _applied(pixels, *matrices)


def _weights(start: torch.Tensor, extent: torch.Tensor, length: int, size: int) -> torch.Tensor:
    """How `size` positions are made of the `extent` pixels from `start` on, of `length`: (crops, size, length)."""
    start, extent = start.view(-1, 1, 1).double(), extent.view(-1, 1, 1).double()
    step = extent / size
    centres = start + (torch.arange(size).view(1, -1, 1) + 0.5) * step
    pixels = torch.arange(length).view(1, 1, -1) + 0.5
    # A filter that is wider than a step lets nothing through that the smaller image could not show.
    weights = (1 - (pixels - centres).abs() / step.clamp(min=1)).clamp(min=0)
    weights *= (pixels > start) & (pixels < start + extent)
    return (weights / weights.sum(2, keepdim=True)).float()


def _applied(pixels: torch.Tensor, columns: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    # Rounded in between, as Pillow does: widths first, then heights.
    narrowed = (pixels.float() @ columns.mT.unsqueeze(1)).add_(0.5).floor_()
    return (rows.unsqueeze(1) @ narrowed).add_(0.5).floor_().clamp_(0, 255).byte()
