"""A small convolutional network that learns CIFAR-10 in a few epochs."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from steadystep.lab.tasks.networks.standardise import Standardise

WHITENING_FILTERS = 2 * 3 * 2 * 2
"""Filters of the first layer: the eigenvectors of 2x2 patches of 3 colours, and their negatives."""

RETENTION = 0.88
"""Weight of a batch norm's old running statistics after 250 images, in one batch or in several.

After 1,024 images the weight is 0.6, as in the source.
"""

BIAS_SCALE = 8.0
"""Factor from a bias parameter to the bias.

In SGD it acts like a learning rate that is 64 times as large, in Adam like one that is 8 times as large, at the same
weight decay.
"""


class FastCNN(nn.Module):
    """A whitening 2x2 convolution, three blocks of two 3x3 convolutions, and a linear layer.

    (batch, 3, 32, 32) pixels from 0 to 255, of any dtype -> (batch, classes). The first filters of every convolution in
    a block are initialised to the identity. Batch norms have no weight, a bias that is learned fast, and running
    statistics that are updated fast. Source: the network of Jordan, arXiv 2404.00498 (2024), section 3. There, the
    learning rate of the biases is 64 times that of the other parameters; here, a bias is 8 times its parameter, so that
    the same network can be trained with every optimizer.

    >>> FastCNN(widths=(64, 128, 128))(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape
    torch.Size([2, 10])
    """

    def __init__(self, widths: Sequence[int], classes: int = 10) -> None:
        super().__init__()
        self.pixels = Standardise()
        self.whiten = nn.Conv2d(3, WHITENING_FILTERS, 2)
        self.whiten.requires_grad_(False)
        blocks = [_block(inputs, outputs) for inputs, outputs in pairwise((WHITENING_FILTERS, *widths))]
        self.layers = nn.Sequential(nn.GELU(), *blocks, nn.MaxPool2d(3), nn.Flatten())
        self.head = nn.Linear(widths[-1], classes, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the classes."""
        return self.head(self.layers(self.whiten(self.pixels(x)))) / 9

    @torch.no_grad()
    def fit_input(self, pixels: torch.Tensor, images: int = 5_000, eps: float = 5e-4) -> None:
        """Compute the mean and standard deviation from all pixels, and the whitening filters from the first images.

        The filters are the eigenvectors of the covariance of 2x2 patches, divided by the root of eigenvalue + `eps`.
        """
        self.pixels.fit(pixels)
        patches = self.pixels(pixels[:images]).unfold(2, 2, 1).unfold(3, 2, 1)
        rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, WHITENING_FILTERS // 2)
        values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
        filters = (vectors / (values + eps).sqrt()).T.reshape(-1, 3, 2, 2).flip(0)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))
        assert self.whiten.bias is not None
        self.whiten.bias.zero_()


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(inputs, outputs),
        nn.MaxPool2d(2),
        _BatchNorm(outputs),
        nn.GELU(),
        _convolution(outputs, outputs),
        _BatchNorm(outputs),
        nn.GELU(),
    )


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(convolution.weight.data[:inputs])
    return convolution


class _BatchNorm(nn.BatchNorm2d):
    """Batch norm with weight fixed at 1 and bias `BIAS_SCALE` times its parameter, so that the bias learns faster.

    The momentum of the running statistics depends on the number of images, so that the batch size does not matter.
    `whole_batch` is the number of images in a batch of which each of several processes has a part.
    """

    whole_batch: int | None = None

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-12)
        self.weight.requires_grad_(False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        momentum = 1 - RETENTION ** ((self.whole_batch or len(input)) / 250)
        bias = BIAS_SCALE * self.bias
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, bias, self.training, momentum, self.eps
        )
