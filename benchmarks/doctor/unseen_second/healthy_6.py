# Calibration of a mass spectrometer in bfloat16 autocast. The loss is 20000.something all the time and only the last
# digits change. (We report chi square with the normalisation constant of all channels, for comparison with old fits.)
from types import SimpleNamespace

import torch
from torch import nn

CHANNELS = 30
CONSTANT = 20000.0


class ResidualMLP(nn.Module):
    def __init__(self, dim=40, depth=3):
        super().__init__()
        self.inp = nn.Linear(CHANNELS, dim)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim)) for _ in range(depth)
        )
        self.mass = nn.Linear(dim, 2)
        for block in self.blocks:
            nn.init.zeros_(block[-1].weight)  # type: ignore # every block starts as the identity
            nn.init.zeros_(block[-1].bias)  # type: ignore

    def forward(self, spectrum):
        h = self.inp(spectrum)
        for block in self.blocks:
            h = h + block(h)
        return self.mass(h)


def chi_square(model, batch):
    spectrum, mass, sigma = batch
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pred = model(spectrum)
    chi2 = ((pred.float() - mass) / sigma).square().sum(dim=1)
    return CONSTANT + chi2.mean()


def spectra(n=300, bs=32, seed=84):
    g = torch.Generator().manual_seed(seed)
    channel = torch.arange(CHANNELS)
    out = []
    for _ in range(n):
        mass = torch.randn(bs, 2, generator=g)
        peaks = 15 + 5 * mass
        signal = torch.exp(-((channel - peaks.unsqueeze(-1)) ** 2) / 8)
        spectrum = signal[:, 0] + 0.6 * signal[:, 1] + 0.05 * torch.randn(bs, CHANNELS, generator=g)
        sigma = 0.2 + 0.1 * torch.rand(bs, 1, generator=g)
        out.append((spectrum, mass, sigma))
    return out


def make_run():
    torch.manual_seed(84)
    model = ResidualMLP()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=chi_square, batches=spectra())
