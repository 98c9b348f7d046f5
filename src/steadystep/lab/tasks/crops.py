"""Which part of an image is shown: random for training, the centre for evaluation, as is usual for ImageNet.

Everything random is decided by an image's place in its split and the epoch alone: the same whoever decodes the image,
in whatever order, before or after an interruption.
"""

import math
from typing import NamedTuple

import numpy as np

AREA = (0.08, 1.0)
"""Of a random crop, as a fraction of the image's."""

RATIO = (3 / 4, 4 / 3)
"""Of a random crop's width to its height."""

ATTEMPTS = 10
"""How many random crops are drawn for an image before its centre is taken."""

MARGIN = 256 / 224
"""How much larger than the centre crop the whole image's shorter side is made for evaluation."""


class Crop(NamedTuple):
    """A part of an image, in pixels, and whether it is mirrored."""

    left: int
    top: int
    width: int
    height: int
    mirrored: bool = False


def random_crop(width: int, height: int, place: int, epoch: int) -> Crop:
    """8 to 100% of an image's area, in a shape from 3:4 to 4:3, mirrored or not; to be resized to a square.

    Area uniform, ratio log-uniform, drawn until the crop fits, ten times at most. Source: Szegedy et al., Going
    deeper with convolutions, CVPR 2015, section 6; the same distribution as torchvision's RandomResizedCrop.

    >>> random_crop(500, 375, place=7, epoch=0) == random_crop(500, 375, place=7, epoch=0)
    True
    """
    # Philox is counted from its key: a stream of its own for each pair, and RandomState's draws are frozen for ever.
    draws = np.random.RandomState(np.random.Philox(key=[place, epoch])).random_sample(2 * ATTEMPTS + 3).tolist()
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


def resized(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height of the whole image before a centre crop of this size: its shorter side is size x 256 / 224.

    >>> resized(500, 375, 224)
    (341, 256)
    """
    shorter = round(size * MARGIN)
    return (shorter * width // height, shorter) if height <= width else (shorter, shorter * height // width)
