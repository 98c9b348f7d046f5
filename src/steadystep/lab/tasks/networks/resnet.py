"""Residual networks: those for ImageNet, their variant for small images, and the narrow ones for CIFAR."""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from steadystep.lab.tasks.networks.standardise import Standardise

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
"""Mean and standard deviation of ImageNet's training pixels from 0 to 255, as published networks use them."""

Depth = Literal[18, 34, 50]
Stem = Literal["imagenet", "small"]


class ResNet(nn.Module):
    """A stem, stages of residual blocks, the mean over all positions, and a linear layer.

    (batch, 3, height, width) pixels from 0 to 255, of any dtype -> (batch, classes). Convolutions are initialised after
    He et al. (2015) with mode "fan_out". `resnet` and `resnet_cifar` make the usual networks.
    """

    def __init__(self, stem: nn.Module, blocks: list[nn.Module], features: int, classes: int) -> None:
        super().__init__()
        self.pixels = Standardise(MEAN, STD)
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(features, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the classes."""
        return self.head(self.blocks(self.stem(self.pixels(x))).mean((2, 3)))


def resnet(depth: Depth, classes: int = 1000, stem: Stem = "imagenet", width: int = 64) -> ResNet:
    """Return a new ResNet-18, -34 or -50.

    Args:
        depth: 18 and 34 have blocks of two 3x3 convolutions; 50 has bottlenecks with the stride in the 3x3 convolution
            (v1.5).
        classes: The number of outputs.
        stem: "imagenet" for a 7x7 convolution and pooling, which leave one 16th of the positions; "small" for one 3x3
            convolution that keeps all positions, for images of about 32x32.
        width: The channels of the first stage; every further stage has twice as many.

    Source: He, Zhang, Ren & Sun, Deep residual learning for image recognition, CVPR 2016, table 1.

    >>> sum(parameter.numel() for parameter in resnet(18).parameters())
    11689512
    """
    counts, block, expansion = {
        18: ((2, 2, 2, 2), _basic, 1),
        34: ((3, 4, 6, 3), _basic, 1),
        50: ((3, 4, 6, 3), _bottleneck, 4),
    }[depth]
    first = _convolution(3, width, 3) if stem == "small" else _convolution(3, width, 7, 2)
    stem_layers = nn.Sequential(*first, nn.ReLU(), *([nn.MaxPool2d(3, 2, padding=1)] if stem == "imagenet" else []))
    widths = (width, *(expansion * width * 2**stage for stage in range(4)))
    blocks = _stages(block, counts, widths, _projection)
    return ResNet(stem_layers, blocks, widths[-1], classes)


def resnet_cifar(n: int = 3, classes: int = 10) -> ResNet:
    """Return a new network of 6n + 2 layers for 32x32 images; the default is ResNet-20.

    It has three stages of 16, 32 and 64 channels. Shortcuts have no parameters: where a stage halves the image, they
    take every second position and pad the missing channels with zeros. Source: He et al. 2016, section 4.2.

    >>> sum(parameter.numel() for parameter in resnet_cifar().parameters())
    269722
    """
    stem_layers = nn.Sequential(*_convolution(3, 16, 3), nn.ReLU())
    return ResNet(stem_layers, _stages(_basic, (n, n, n), (16, 16, 32, 64), _Padded), 64, classes)


class _Padded(nn.Module):
    """A shortcut that takes every `stride`-th position and pads the missing channels with zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self._missing, self._stride = outputs - inputs, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.pad(x[:, :, :: self._stride, :: self._stride], (0, 0, 0, 0, 0, self._missing))


def _projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Return a shortcut that is a 1x1 convolution."""
    return nn.Sequential(*_convolution(inputs, outputs, 1, stride))


Shortcut = Callable[[int, int, int], nn.Module]
"""A function of input channels, output channels and stride that returns a shortcut."""


class _Residual(nn.Module):
    """The block relu(layers(x) + shortcut(x)); the shortcut is the identity if the shapes are equal."""

    def __init__(self, layers: nn.Module, inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.layers = layers
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else shortcut(inputs, outputs, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.layers(x) + self.shortcut(x))


def _basic(inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> nn.Module:
    first, second = _convolution(inputs, outputs, 3, stride), _convolution(outputs, outputs, 3)
    return _Residual(nn.Sequential(*first, nn.ReLU(), *second), inputs, outputs, stride, shortcut)


def _bottleneck(inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> nn.Module:
    width = outputs // 4
    narrow, middle, wide = (
        _convolution(inputs, width, 1), _convolution(width, width, 3, stride), _convolution(width, outputs, 1)
    )  # fmt: skip
    layers = nn.Sequential(*narrow, nn.ReLU(), *middle, nn.ReLU(), *wide)
    return _Residual(layers, inputs, outputs, stride, shortcut)


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(outputs)


def _stages(
    block: Callable[[int, int, int, Shortcut], nn.Module],
    counts: tuple[int, ...],
    widths: tuple[int, ...],
    shortcut: Shortcut,
) -> list[nn.Module]:
    """Return all blocks; every stage but the first begins with a block that halves the height and width."""
    blocks = []
    for stage, (count, (inputs, outputs)) in enumerate(zip(counts, pairwise(widths), strict=True)):
        stride = 1 if stage == 0 else 2
        blocks.append(block(inputs, outputs, stride, shortcut))
        blocks += [block(outputs, outputs, 1, shortcut) for _ in range(count - 1)]
    return blocks
