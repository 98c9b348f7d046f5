"""Standardisation of pixels to mean 0 and standard deviation 1, as the first layer of a network."""

from collections.abc import Sequence

import torch
from torch import nn


class Standardise(nn.Module):
    """The map (x - mean) / std for each channel; mean and std are given or fitted to the training images.

    (batch, channels, height, width) pixels from 0 to 255, of any dtype -> the same shape in float32. Default: three
    channels with mean 127.5 and standard deviation 64.

    >>> layer = Standardise((127.5,), (64.0,))
    >>> layer.fit(torch.tensor([0, 255, 255, 0], dtype=torch.uint8).view(1, 1, 2, 2))
    >>> layer(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)).tolist()
    [[[[-1.0, 1.0]]]]
    >>> Standardise()(torch.full((1, 3, 1, 1), 191.5)).flatten().tolist()
    [1.0, 1.0, 1.0]
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float] = (127.5,) * 3, std: Sequence[float] = (64.0,) * 3) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the standardised pixels."""
        return (x.float() - self.mean) / self.std

    @torch.no_grad()
    def fit(self, pixels: torch.Tensor) -> None:
        """Set the mean and standard deviation from uint8 pixels.

        They are computed from histograms, which is exact and needs no float copy of the pixels.
        """
        values = torch.arange(256, dtype=torch.float64)
        for channel in range(pixels.shape[1]):
            counts = torch.bincount(pixels[:, channel].flatten(), minlength=256).double()
            mean = (counts @ values) / counts.sum()
            self.mean[0, channel] = mean
            self.std[0, channel] = ((counts @ (values - mean) ** 2) / counts.sum()).sqrt()
