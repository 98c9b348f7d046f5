"""Pixels to inputs, as the first layer of a network."""

import torch
from torch import nn


class Standardise(nn.Module):
    """(x - mean) / std for each channel, as buffers that are set once from the training images.

    (batch, channels, height, width), of any dtype, in and float32 out. Data sets can so be kept as bytes.

    >>> layer = Standardise(channels=1)
    >>> layer.fit(torch.tensor([0, 255, 255, 0], dtype=torch.uint8).view(1, 1, 2, 2))
    >>> layer(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)).tolist()
    [[[[-1.0, 1.0]]]]
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((1, channels, 1, 1), 127.5))
        self.register_buffer("std", torch.full((1, channels, 1, 1), 64.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.float() - self.mean) / self.std

    @torch.no_grad()
    def fit(self, pixels: torch.Tensor) -> None:
        """Mean and deviation of these bytes, through their histogram: exact, and without a float copy of them."""
        values = torch.arange(256, dtype=torch.float64)
        for channel in range(pixels.shape[1]):
            counts = torch.bincount(pixels[:, channel].flatten(), minlength=256).double()
            mean = (counts @ values) / counts.sum()
            self.mean[0, channel] = mean
            self.std[0, channel] = ((counts @ (values - mean) ** 2) / counts.sum()).sqrt()
