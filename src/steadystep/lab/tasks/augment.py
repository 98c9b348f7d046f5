"""Augmentation of whole batches of images in tensor code: (batch, channels, height, width) in and out."""

import torch
from torch.nn import functional


def alternating_flip(x: torch.Tensor, indices: torch.Tensor, epoch: int) -> torch.Tensor:
    """Flip a pseudo-random half of the images horizontally, and the other half in the next epoch.

    Any two consecutive epochs thus show every image both ways. `indices` are the images' indices in the training split.
    Source: Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU, arXiv 2404.00498 (2024), section 3.6.

    >>> x = torch.tensor([[1, 2]]).expand(64, 1, 1, 2)
    >>> indices = torch.arange(64)
    >>> torch.equal(alternating_flip(x, indices, 0), alternating_flip(x, indices, 1).flip(3))
    True
    """
    # Knuth's multiplicative hash gives each image a fair coin that is the same in every epoch, in any order.
    coin = (indices * 2654435761 >> 16) & 1
    mirrored = coin == epoch % 2
    return torch.where(mirrored.view(-1, 1, 1, 1), x.flip(3), x)


def random_shift(x: torch.Tensor, max_shift: int) -> torch.Tensor:
    """Shift every image by up to `max_shift` pixels in each direction, with reflection padding.

    >>> random_shift(torch.zeros(2, 3, 8, 8), max_shift=2).shape
    torch.Size([2, 3, 8, 8])
    """
    batch, _, height, width = x.shape
    padded = functional.pad(x, (max_shift,) * 4, mode="reflect")
    # Drawn on the CPU, so that the numbers are the same for every device.
    down, right = torch.randint(2 * max_shift + 1, (2, batch, 1)).to(x.device)
    image, channel, row, column = (torch.arange(size, device=x.device) for size in x.shape)
    rows, columns = (down + row).view(batch, 1, height, 1), (right + column).view(batch, 1, 1, width)
    return padded[image.view(-1, 1, 1, 1), channel.view(1, -1, 1, 1), rows, columns]


def flips_and_shifts(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Average the outputs over six views of each image, for test-time augmentation.

    The views are the image, the image shifted by one pixel to the upper left and to the lower right, and the horizontal
    flips of all three. The unshifted pair has the same weight as both shifted pairs together.
    """
    height, width = x.shape[2:]
    padded = functional.pad(x, (1,) * 4, mode="reflect")
    shifted = [padded[:, :, start : start + height, start : start + width] for start in (0, 2)]
    return 0.5 * _with_flip(model, x) + 0.25 * (_with_flip(model, shifted[0]) + _with_flip(model, shifted[1]))


def _with_flip(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    return 0.5 * (model(x) + model(x.flip(3)))
