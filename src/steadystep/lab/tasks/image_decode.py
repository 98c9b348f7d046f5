"""The stages from an encoded image to the pixels that a network takes, one function each."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from steadystep.lab.tasks.crops import random_crop, resized_shape

if TYPE_CHECKING:
    from PIL.Image import Image


class UnreadableImageError(Exception):
    """Raised when an image is missing or damaged; the message gives the reason."""


EncodedImage = Mapping[str, bytes | str | None]
"""An image as `datasets` stores it: its `bytes`, or the `path` of its file."""


def file_name(image: EncodedImage | None) -> str:
    """Return the path of an image's file, or "" if the image is missing or not in a file."""
    return str((image or {}).get("path") or "")


def read(image: EncodedImage | None) -> bytes:
    """Return the encoded bytes of an image from `datasets`, which stores them in its table or in a separate file.

    Raises:
        UnreadableImageError: If the image is missing or its file cannot be read.
    """
    if image is None:
        raise UnreadableImageError("the sample has no image")
    content, path = image["bytes"], image["path"]
    if isinstance(content, bytes):
        return content
    try:
        return Path(str(path)).read_bytes()
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from error


def decode(content: bytes) -> "Image":
    """Decode an image to RGB; grey images get three equal channels, CMYK images are converted.

    Raises:
        UnreadableImageError: If the image is damaged.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.convert("RGB")
    # Pillow's decoders raise different errors for damaged files of different formats.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(" ".join(str(error).split())) from error


def random_view(image: "Image", size: int, index: int, epoch: int) -> "Image":
    """Return the image's random crop for this epoch, resized to size x size."""
    from PIL import Image

    crop = random_crop(*image.size, index, epoch)
    part = image.crop((crop.left, crop.top, crop.left + crop.width, crop.top + crop.height))
    view = part.resize((size, size), Image.Resampling.BILINEAR)
    return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if crop.mirrored else view


def centre_view(image: "Image", size: int) -> "Image":
    """Resize the image so that its shorter side is size x 256 / 224, and return its size x size centre crop."""
    from PIL import Image

    width, height = resized_shape(*image.size, size)
    left, top = (width - size) // 2, (height - size) // 2
    return image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))


def view_of(image: "Image", size: int, index: int, epoch: int, *, random: bool) -> "Image":
    """Return the view of an image that a network gets: a random crop for this epoch, or the centre."""
    return random_view(image, size, index, epoch) if random else centre_view(image, size)


def to_tensor(view: "Image") -> torch.Tensor:
    """Convert an image to a (3, height, width) tensor of uint8.

    Bytes are a quarter of the size of float32. The network's first layer standardises them.
    """
    return torch.from_numpy(np.array(view)).permute(2, 0, 1)
