"""Multilayer perceptrons."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def make_mlp(
    widths: Sequence[int], dropout: float = 0.0, batch_norm: bool = False, activation: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Return linear layers with an activation after each but the last: (batch, widths[0]) -> (batch, widths[-1]).

    Optionally there is batch norm before and dropout after each activation.

    >>> sum(parameter.numel() for parameter in make_mlp((64, 256, 128, 10)).parameters())
    50826
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers.append(nn.Linear(inputs, outputs, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(outputs))
        layers.append(activation())
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
