"""Cropping and resizing of whole batches of images of equal size with a triangle filter, in tensor code.

The results equal those of Pillow's `crop(...).resize(..., BILINEAR)`, up to the last digit of its fixed-point
arithmetic.
"""

from collections.abc import Sequence

import torch

from steadystep.lab.tasks.crops import Crop, resized_shape


def crop_and_resize(pixels: torch.Tensor, crops: Sequence[Crop], size: int) -> torch.Tensor:
    """Crop each image, resize the crop to a square, and flip it horizontally if the crop is mirrored.

    (batch, channels, height, width) in uint8 -> (batch, channels, size, size) in uint8.

    >>> crop_and_resize(torch.tensor([[[[10, 30], [10, 30]]]], dtype=torch.uint8), [Crop(0, 0, 2, 2, True)], 2)
    tensor([[[[30, 10],
              [30, 10]]]], dtype=torch.uint8)
    """
    left, top, width, height, mirrored = torch.tensor(crops).view(-1, 5).T
    columns = _weights(left, width, pixels.shape[3], size)
    columns = torch.where(mirrored.bool().view(-1, 1, 1), columns.flip(1), columns)
    return _resample(pixels, columns, _weights(top, height, pixels.shape[2], size))


def resize_and_centre_crop(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """Resize each image so that its shorter side is size x 256 / 224, and return the centre crops.

    The shapes are those of `crop_and_resize`.
    """
    height, width = pixels.shape[2:]
    start = torch.zeros(1, dtype=torch.int64)
    matrices = []
    for length, target in zip((width, height), resized_shape(width, height, size), strict=True):
        first = (target - size) // 2
        matrices.append(_weights(start, torch.tensor([length]), length, target)[:, first : first + size])
    return _resample(pixels, *matrices)


def _weights(start: torch.Tensor, extent: torch.Tensor, length: int, size: int) -> torch.Tensor:
    """Return the filter weights that map `extent` pixels from `start` on, out of `length`, to `size` positions.

    Shape: (crops, size, length).
    """
    start, extent = start.view(-1, 1, 1).double(), extent.view(-1, 1, 1).double()
    step = extent / size
    centres = start + (torch.arange(size).view(1, -1, 1) + 0.5) * step
    pixels = torch.arange(length).view(1, 1, -1) + 0.5
    # When downscaling, the filter is as wide as a step, which avoids aliasing.
    weights = (1 - (pixels - centres).abs() / step.clamp(min=1)).clamp(min=0)
    weights *= (pixels > start) & (pixels < start + extent)
    return (weights / weights.sum(2, keepdim=True)).float()


def _resample(pixels: torch.Tensor, columns: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    # Pillow resizes widths first, then heights, and rounds in between.
    narrowed = (pixels.float() @ columns.mT.unsqueeze(1)).add_(0.5).floor_()
    return (rows.unsqueeze(1) @ narrowed).add_(0.5).floor_().clamp_(0, 255).byte()
