"""A small convolutional network that learns CIFAR-10 in few epochs."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from steadystep.lab.tasks.networks.standardise import Standardise

WHITENED = 2 * 3 * 2 * 2
"""Filters of the first layer: every eigenvector of 2x2 patches of 3 colours, and its negative."""

REMEMBERED = 0.88
"""What 250 images leave of a batch norm's statistics, in one batch or in many: 1,024 leave 0.6, as in the source."""

BIAS = 8.0
"""What a bias counts: in SGD as if its learning rate were 64 times as large, in Adam 8 times, at the same decay."""


class FastCNN(nn.Module):
    """Whitening 2x2 convolution, three blocks of two 3x3 convolutions, one linear layer.

    (batch, 3, 32, 32) pixels from 0 to 255, of any dtype -> (batch, classes). Every convolution of a block starts as
    the identity on its first filters. Batch norms have a bias, learned fast, and no weight, and forget fast.
    Source: the network of Jordan, arXiv 2404.00498 (2024), section 3; there the biases' learning rate is 64 times the
    others', here a bias is 8 times its parameter, so that every optimizer can train the same network.

    >>> FastCNN(widths=(64, 128, 128))(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape
    torch.Size([2, 10])
    """

    def __init__(self, widths: Sequence[int], classes: int = 10) -> None:
        super().__init__()
        self.pixels = Standardise()
        self.whiten = nn.Conv2d(3, WHITENED, 2)
        self.whiten.requires_grad_(False)
        blocks = [_block(inputs, outputs) for inputs, outputs in pairwise((WHITENED, *widths))]
        self.layers = nn.Sequential(nn.GELU(), *blocks, nn.MaxPool2d(3), nn.Flatten())
        self.head = nn.Linear(widths[-1], classes, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.whiten(self.pixels(x)))) / 9

    @torch.no_grad()
    def fit_input(self, pixels: torch.Tensor, images: int = 5_000, eps: float = 5e-4) -> None:
        """Take mean and deviation from all these images and the whitening filters from the first of them.

        The filters are the eigenvectors of the covariance of 2x2 patches over the root of their eigenvalue + eps.
        """
        self.pixels.fit(pixels)
        patches = self.pixels(pixels[:images]).unfold(2, 2, 1).unfold(3, 2, 1)
        rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, WHITENED // 2)
        values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
        filters = (vectors / (values + eps).sqrt()).T.reshape(-1, 3, 2, 2).flip(0)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))
        assert self.whiten.bias is not None
        self.whiten.bias.zero_()


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(inputs, outputs),
        nn.MaxPool2d(2),
        _Norm(outputs),
        nn.GELU(),
        _convolution(outputs, outputs),
        _Norm(outputs),
        nn.GELU(),
    )


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    made = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(made.weight.data[:inputs])
    return made


class _Norm(nn.BatchNorm2d):
    """Batch norm of weight 1 whose bias is `BIAS` times its parameter, so that it learns faster.

    How fast it forgets is counted in images: the same for batches of every size.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-12)
        self.weight.requires_grad_(False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        moved, replaced = (self.running_mean, self.running_var), 1 - REMEMBERED ** (len(input) / 250)
        return functional.batch_norm(input, *moved, self.weight, BIAS * self.bias, self.training, replaced, self.eps)
