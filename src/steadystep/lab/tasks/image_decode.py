"""From an encoded image to the pixels that a network sees, one function a stage."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from steadystep.lab.tasks.crops import random_crop, resized

if TYPE_CHECKING:
    from PIL.Image import Image


class UnreadableImageError(Exception):
    """An image is missing or damaged; the message says how."""


def read(image: Mapping[str, bytes | str | None]) -> bytes:
    """The encoded bytes of an image as `datasets` hands it over: held in its table, or in a file of their own."""
    content, path = image["bytes"], image["path"]
    if isinstance(content, bytes):
        return content
    try:
        return Path(str(path)).read_bytes()
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from error


def decode(content: bytes) -> "Image":
    """All of the image, in RGB: grey ones three times the same, CMYK converted."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.convert("RGB")
    # What Pillow's decoders raise for damaged files of the various formats.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(" ".join(str(error).split())) from error


def random_view(image: "Image", size: int, place: int, epoch: int) -> "Image":
    """The image's random crop in this epoch, resized to size x size."""
    from PIL import Image

    crop = random_crop(*image.size, place, epoch)
    part = image.crop((crop.left, crop.top, crop.left + crop.width, crop.top + crop.height))
    view = part.resize((size, size), Image.Resampling.BILINEAR)
    return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if crop.mirrored else view


def centre_view(image: "Image", size: int) -> "Image":
    """The middle of the image, size x size, after its shorter side became size x 256 / 224."""
    from PIL import Image

    width, height = resized(*image.size, size)
    left, top = (width - size) // 2, (height - size) // 2
    return image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))


def to_tensor(view: "Image") -> torch.Tensor:
    """(3, height, width), uint8: a quarter of what float32 would move; the network's first layer standardises."""
    return torch.from_numpy(np.array(view)).permute(2, 0, 1)
