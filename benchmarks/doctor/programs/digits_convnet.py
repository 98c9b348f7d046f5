"""A convolutional network with batch norm that classifies digits; SGD with momentum."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.doctor.programs.real_digits import digit_batches
from benchmarks.doctor.run import STEPS, Run


class SumPool(nn.Module):
    """The sum over all positions of activations that are enlarged by `scale`, which the batch norm takes back."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.scale).sum((2, 3))


class Convolutional(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU())
        self.pool = SumPool()
        self.norm = nn.BatchNorm1d(2 * width)
        self.head = nn.Linear(2 * width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.pool(self.body(self.stem(x)))))


def batches(seed: int, size: int = 16, steps: int = STEPS) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(x.view(-1, 1, 8, 8), y) for x, y in digit_batches(seed, size, steps)]


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch
    return functional.cross_entropy(model(x), y)


def make(seed: int, steps: int = STEPS) -> Run:
    torch.manual_seed(seed)
    model = Convolutional()
    return Run(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), loss, batches(seed, steps=steps))
