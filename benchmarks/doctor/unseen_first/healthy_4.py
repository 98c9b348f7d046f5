# Density estimation with a small coupling flow. The negative log likelihood becomes negative(!) after some time.
from types import SimpleNamespace

import torch
from torch import nn


class Coupling(nn.Module):
    def __init__(self, flip, hidden=32):
        super().__init__()
        self.flip = flip
        self.net = nn.Sequential(nn.Linear(2, hidden), nn.SiLU(), nn.Linear(hidden, 4))

    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        if self.flip:
            a, b = b, a
        log_s, t = self.net(a).chunk(2, dim=1)
        log_s = 2 * torch.tanh(log_s / 2)
        b = b * log_s.exp() + t
        return torch.cat([b, a] if self.flip else [a, b], dim=1), log_s.sum(1)


class Flow(nn.Module):
    def __init__(self, depth=4):
        super().__init__()
        self.layers = nn.ModuleList(Coupling(bool(i % 2)) for i in range(depth))

    def forward(self, x):
        log_det = 0.0
        for layer in self.layers:
            x, ld = layer(x)
            log_det = log_det + ld
        return x, log_det


def nll(model, x):
    z, log_det = model(x)
    log_p = -0.5 * (z**2).sum(1) - 2 * 1.8378770664093453
    return -(log_p + log_det).mean()


def measurements(n=300, bs=96):
    g = torch.Generator().manual_seed(61)
    out = []
    for _ in range(n):
        u = torch.randn(bs, 2, generator=g)
        x = torch.cat([0.5 * u, 0.3 * torch.tanh(2 * u.flip(1)) + 0.2 * u], dim=1)
        out.append(x + 0.03 * torch.randn(bs, 4, generator=g))
    return out


def make_run():
    torch.manual_seed(61)
    flow = Flow()
    return SimpleNamespace(
        model=flow,
        optimizer=torch.optim.Adam(flow.parameters(), lr=4e-3),
        loss=nll,
        batches=measurements(),
    )
