"""An autoencoder of centred digits with tanh layers; Adam."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.doctor.programs.real_digits import digit_batches, digits
from benchmarks.doctor.run import STEPS, Run


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 12), nn.Tanh())
        self.decoder = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(images.flatten(1))).view(images.shape)


def batches(seed: int, size: int = 24, steps: int = STEPS, centred: bool = True) -> list[torch.Tensor]:
    """Draw images (N, 1, 8, 8), each pixel centred on its mean over all images."""
    mean = digits()[0].mean(0) if centred else torch.zeros(64)
    return [(x - mean).view(-1, 1, 8, 8) for x, _ in digit_batches(seed, size, steps)]


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return functional.mse_loss(model(batch), batch)


def make(seed: int, steps: int = STEPS) -> Run:
    torch.manual_seed(seed)
    model = Autoencoder()
    return Run(model, torch.optim.Adam(model.parameters(), lr=3e-3), loss, batches(seed, steps=steps))
