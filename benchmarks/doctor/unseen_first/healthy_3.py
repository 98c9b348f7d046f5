# Loss goes up again and again, about every 60 steps, after it was already low. Learning rate is SGDR
# (cosine with warm restarts).
import torch
import torch.nn.functional as F
from torch import nn


class Spirals(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
            nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
            nn.Linear(hidden, 3),
        )  # fmt: skip

    def forward(self, xy):
        return self.net(xy)


def spirals(n, bs=64):
    g = torch.Generator().manual_seed(9)
    for _ in range(n):
        arm = torch.randint(0, 3, (bs,), generator=g)
        r = torch.rand(bs, generator=g).sqrt()
        phi = 4.5 * r + arm * 2.0944 + 0.15 * torch.randn(bs, generator=g)
        yield 2 * torch.stack([r * phi.cos(), r * phi.sin()], dim=1), arm


def xent(model, batch):
    xy, arm = batch
    return F.cross_entropy(model(xy), arm)


class Run:
    def __init__(self):
        torch.manual_seed(9)
        self.model = Spirals()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.4, momentum=0.9, nesterov=True)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(self.optimizer, T_0=60)
        self.batches = list(spirals(300))
        self.loss = xent

    def step(self, run, batch):
        run.optimizer.zero_grad()
        loss = run.loss(run.model, batch)
        loss.backward()
        run.optimizer.step()
        run.scheduler.step()
        return loss.item()


def make_run():
    return Run()
