# Claim size regression (in 1000 EUR). Runs fine for quite some steps, then the loss jumps up and for the rest of
# the run it stays ten times as high as before. Data was checked with the insurer, every single claim is real.
from types import SimpleNamespace

import torch
from torch import nn


class ClaimNet(nn.Module):
    def __init__(self, n_features=12):
        super().__init__()
        self.fc1 = nn.Linear(n_features, 48)
        self.fc2 = nn.Linear(48, 48)
        self.out = nn.Linear(48, 1)

    def forward(self, x):
        h = torch.relu(self.fc1(x))
        h = torch.relu(self.fc2(h))
        return self.out(h).squeeze(-1)


def claim_loss(model, batch):
    x, claim = batch
    return nn.functional.mse_loss(model(x), claim)


def claims(n=300, bs=32, seed=12):
    g = torch.Generator().manual_seed(seed)
    w = torch.randn(12, generator=g) / 12**0.5
    batches = []
    for k in range(n):
        x = torch.randn(bs, 12, generator=g)
        size = 2.0 + 1.2 * x @ w + 0.6 * (x[:, 0] * x[:, 1]) + 0.1 * torch.randn(bs, generator=g)
        if k == 96:
            size[19] = 1200.0  # the warehouse fire
        batches.append((x, size))
    return batches


def make_run():
    torch.manual_seed(12)
    net = ClaimNet()
    sgd = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    return SimpleNamespace(model=net, optimizer=sgd, loss=claim_loss, batches=claims())
