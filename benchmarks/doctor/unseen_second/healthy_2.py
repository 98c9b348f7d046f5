# Quantile regression of delivery times (in seconds, summed over the batch). My gradient norm is some thousands in every
# single step and it is clipped to 1 in every single step. Does it learn anything then?
from types import SimpleNamespace

import torch
from torch import nn

QUANTILES = torch.tensor([0.1, 0.5, 0.9])


class QuantileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(7, 32), nn.Hardswish(), nn.Linear(32, 32), nn.Hardswish())
        self.bounds = nn.Linear(32, 3)

    def forward(self, order):
        minutes = self.bounds(self.trunk(order))
        return 60 * minutes


def pinball(model, batch):
    order, seconds = batch
    err = seconds.unsqueeze(1) - model(order)
    return torch.maximum(QUANTILES * err, (QUANTILES - 1) * err).sum()


def step(run, batch):
    run.optimizer.zero_grad()
    loss = run.loss(run.model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimizer.step()
    return loss.item()


def deliveries(n=300, bs=64):
    g = torch.Generator().manual_seed(68)
    out = []
    for _ in range(n):
        order = torch.randn(bs, 7, generator=g)
        minutes = 12 + 5 * order[:, 0] + 3 * order[:, 1].abs() + 2 * order[:, 2] * order[:, 3]
        late = -2 * torch.rand(bs, generator=g).clamp(min=1e-3).log()
        out.append((order, 60 * (minutes + late)))
    return out


def make_run():
    torch.manual_seed(68)
    model = QuantileNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=pinball, batches=deliveries(), step=step)
