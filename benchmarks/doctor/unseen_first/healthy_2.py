# River level forecast. In one batch (the flood) the gradient norm is some hundred times the usual one, I log a
# warning there. Clipping is on.
from types import SimpleNamespace

import torch
from torch import nn

LAGS = 24


class LevelNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 16, 5, padding=2)
        self.conv2 = nn.Conv1d(16, 16, 5, padding=2)
        self.fc = nn.Linear(16 * LAGS, 1)

    def forward(self, x):
        h = torch.relu(self.conv(x))
        h = torch.relu(self.conv2(h))
        return self.fc(h.flatten(1)).squeeze(-1)


def mse(model, batch):
    x, level = batch
    return nn.functional.mse_loss(model(x), level)


def step(run, batch):
    run.optimizer.zero_grad()
    loss = run.loss(run.model, batch)
    loss.backward()
    nn.utils.clip_grad_norm_(run.model.parameters(), 2.0)
    run.optimizer.step()
    return loss.item()


def gauges(n=300, bs=32):
    g = torch.Generator().manual_seed(33)
    decay = 0.8 ** torch.arange(LAGS).flip(0)
    batches = []
    for k in range(n):
        rain = torch.rand(bs, LAGS, generator=g) ** 4
        temp = torch.randn(bs, 1, generator=g).expand(-1, LAGS)
        level = 1.5 * (rain * decay).sum(1) + 0.1 * temp[:, 0] + 0.05 * torch.randn(bs, generator=g)
        if k == 140:
            level[:2] += 150.0
        batches.append((torch.stack([rain, temp], dim=1), level))
    return batches


def make_run():
    torch.manual_seed(33)
    model = LevelNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=5e-3, momentum=0.9)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=mse, batches=gauges(), step=step)
