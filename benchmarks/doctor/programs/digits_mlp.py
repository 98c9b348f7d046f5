"""A multilayer perceptron that classifies digits; SGD with momentum."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.doctor.programs.real_digits import digit_batches
from benchmarks.doctor.run import STEPS, Run


class Perceptron(nn.Module):
    def __init__(self, width: int = 48, layers: int = 3) -> None:
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(64 if layer == 0 else width, width) for layer in range(layers)])
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.hidden:
            x = layer(x).relu()
        return self.head(x)


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch
    return functional.cross_entropy(model(x), y)


def make(seed: int, steps: int = STEPS) -> Run:
    torch.manual_seed(seed)
    model = Perceptron()
    return Run(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), loss, digit_batches(seed, 32, steps))
