"""The small models that tasks share."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(widths: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """A multi-layer perceptron with ReLU, and dropout after each hidden layer: (batch, widths[0]) -> logits."""
    layers: list[nn.Module] = []
    for into, out in pairwise(widths[:-1]):
        layers += [nn.Linear(into, out), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
