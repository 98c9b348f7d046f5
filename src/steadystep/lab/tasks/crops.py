"""Crops of images: random ones for training and centre crops for evaluation, as is usual for ImageNet.

A random crop depends only on the image's index in its split and on the epoch. It is therefore the same in every worker
process, in any order, and before and after an interruption.
"""

import math
from typing import NamedTuple

import numpy as np

AREA = (0.08, 1.0)
"""Range of a random crop's area, as a fraction of the image's area."""

RATIO = (3 / 4, 4 / 3)
"""Range of the ratio of a random crop's width to its height."""

ATTEMPTS = 10
"""How many random crops are tried for an image before its centre is taken."""

MARGIN = 256 / 224
"""Ratio of the image's shorter side to the size of the centre crop, after resizing for evaluation."""


class Crop(NamedTuple):
    """A rectangle of an image, in pixels, and whether it is flipped horizontally."""

    left: int
    top: int
    width: int
    height: int
    mirrored: bool = False


def random_crop(width: int, height: int, index: int, epoch: int) -> Crop:
    """Draw a crop of 8 to 100% of an image's area and of an aspect ratio from 3:4 to 4:3, flipped with probability 1/2.

    The crop is meant to be resized to a square. Its area is uniform and its aspect ratio log-uniform. Crops are drawn
    until one fits, at most ten times; then the largest centre crop within the range of ratios is taken. Source:
    Szegedy et al., Going deeper with convolutions, CVPR 2015, section 6; the same distribution as torchvision's
    RandomResizedCrop.

    >>> random_crop(500, 375, index=7, epoch=0) == random_crop(500, 375, index=7, epoch=0)
    True
    """
    # Philox keyed by the pair gives every pair a separate stream. RandomState's streams never change.
    draws = np.random.RandomState(np.random.Philox(key=[index, epoch])).random_sample(2 * ATTEMPTS + 3).tolist()
    across, down, coin = draws[-3:]
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    for first, second in zip(draws[0:-3:2], draws[1:-3:2], strict=True):
        area = width * height * (AREA[0] + (AREA[1] - AREA[0]) * first)
        ratio = math.exp(low + (high - low) * second)
        wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < tall <= height:
            left, top = int(across * (width - wide + 1)), int(down * (height - tall + 1))
            return Crop(left, top, wide, tall, coin < 0.5)
    ratio = min(max(width / height, RATIO[0]), RATIO[1])
    wide, tall = min(width, round(height * ratio)), min(height, round(width / ratio))
    return Crop((width - wide) // 2, (height - tall) // 2, wide, tall, coin < 0.5)


def resized_shape(width: int, height: int, size: int) -> tuple[int, int]:
    """Return the image's width and height before a centre crop: the shorter side becomes size x 256 / 224.

    >>> resized_shape(500, 375, 224)
    (341, 256)
    """
    shorter = round(size * MARGIN)
    return (shorter * width // height, shorter) if height <= width else (shorter, shorter * height // width)
