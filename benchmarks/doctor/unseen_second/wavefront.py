# Wavefront reconstruction for our telescope, from the slopes of the Shack-Hartmann sensor. Everything in SI units
# (metres, about one micron is normal here). The loss stays exactly at its first value; lr = 1 does not help either.
from types import SimpleNamespace

import torch
from torch import nn

LENSLETS, ACTUATORS = 20, 36
MICRON = 1e-6


class Reconstructor(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.linear = nn.Linear(2 * LENSLETS, ACTUATORS)
        self.gate = nn.Linear(2 * LENSLETS, width)
        self.value = nn.Linear(2 * LENSLETS, width)
        self.correct = nn.Linear(width, ACTUATORS)

    def forward(self, slopes):
        h = torch.sigmoid(self.gate(slopes)) * self.value(slopes)
        return MICRON * (self.linear(slopes) + self.correct(h))


def surface_error(model, batch):
    """Mean square of the error of the surface in m^2."""
    slopes, surface = batch
    return (model(slopes) - surface).square().mean()


def atmosphere(n=300, bs=32, seed=15):
    g = torch.Generator().manual_seed(seed)
    modes = torch.randn(12, ACTUATORS, generator=g) / 12**0.5
    optics = torch.randn(12, 2 * LENSLETS, generator=g) / 12**0.5
    for _ in range(n):
        turbulence = torch.randn(bs, 12, generator=g)
        slopes = turbulence @ optics
        slopes = slopes + 0.1 * slopes**2 + 0.05 * torch.randn(slopes.shape, generator=g)
        yield slopes, MICRON * (turbulence @ modes)


def make_run(**adam):
    torch.manual_seed(15)
    model = Reconstructor()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, **adam)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=surface_error, batches=list(atmosphere()))
