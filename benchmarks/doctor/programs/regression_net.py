"""A small residual network that predicts a smooth function of ten features; SGD with momentum."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.doctor.run import STEPS, Run

FEATURES = 10


class Residual(nn.Module):
    def __init__(self, outputs: int = 1, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Linear(FEATURES, width)
        self.block = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).tanh()
        return self.head(x + self.block(x))


def batches(
    seed: int, size: int = 32, steps: int = STEPS, noise: float = 0.1
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Draw features and targets (N, 1) of about unit variance."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(steps, size, FEATURES, generator=generator)
    y = torch.sin(2 * x[..., 0]) + 0.7 * x[..., 1] * x[..., 2].tanh() + 0.5 * x[..., 3]
    y = y + noise * torch.randn(steps, size, generator=generator)
    return [(x[step], y[step].unsqueeze(1)) for step in range(steps)]


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch
    return functional.mse_loss(model(x), y)


def make(seed: int, steps: int = STEPS) -> Run:
    torch.manual_seed(seed)
    model = Residual()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return Run(model, optimizer, loss, batches(seed, steps=steps))
