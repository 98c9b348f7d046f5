# Point cloud regression with autocast. In fp32 this trains fine, with fp16 the loss becomes inf/nan
# at some point and never comes back. GradScaler did not help so I removed it from the repro.
from types import SimpleNamespace

import torch
from torch import nn

N_POINTS = 128


class PointEncoder(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())

    def forward(self, pts):
        return self.mlp(pts)


class MeanPool(nn.Module):
    def forward(self, h):
        return h.sum(dim=1) / h.shape[1]


class MassNet(nn.Module):
    """predicts the total mass (g) of an object from its points (mm)."""

    def __init__(self):
        super().__init__()
        self.encoder = PointEncoder()
        self.pool = MeanPool()
        self.regressor = nn.Linear(32, 1)

    def forward(self, pts):
        return self.regressor(self.pool(self.encoder(pts))).squeeze(-1)


def loss_fn(model, batch):
    pts, mass = batch
    with torch.autocast(device_type="cpu", dtype=torch.float16):
        pred = model(pts)
    return nn.functional.smooth_l1_loss(pred.float(), mass, beta=100.0)


def make_batches(n=300, bs=16):
    g = torch.Generator().manual_seed(3)
    out = []
    for _ in range(n):
        size = 60 + 180 * torch.rand(bs, 1, 1, generator=g)
        pts = torch.randn(bs, N_POINTS, 3, generator=g) * size
        mass = 30 * size.flatten()
        out.append((pts, mass))
    return out


def make_run():
    torch.manual_seed(3)
    model = MassNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=loss_fn, batches=make_batches())
