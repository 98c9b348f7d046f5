# Crowd-sourced labels: about 45 percent of them are random. The loss only gets from 1.61 to 1.3 or so, the colleague
# says it does not learn.
from types import SimpleNamespace

import torch
from torch import nn

N_CLASSES = 5


class SetClassifier(nn.Module):
    """Deep sets: the same net for each element, then the mean."""

    def __init__(self):
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.rho = nn.Linear(32, N_CLASSES)

    def forward(self, sets):
        return self.rho(self.phi(sets).mean(dim=1))


def crowd(n, bs=64, elements=8):
    g = torch.Generator().manual_seed(25)
    centre = 1.2 * torch.randn(N_CLASSES, 3, generator=g)
    for _ in range(n):
        truth = torch.randint(0, N_CLASSES, (bs,), generator=g)
        sets = centre[truth].unsqueeze(1) + torch.randn(bs, elements, 3, generator=g)
        guess = torch.randint(0, N_CLASSES, (bs,), generator=g)
        careless = torch.rand(bs, generator=g) < 0.45
        yield sets, torch.where(careless, guess, truth)


def loss(model, batch):
    sets, label = batch
    return nn.functional.cross_entropy(model(sets), label)


def make_run():
    torch.manual_seed(25)
    net = SetClassifier()
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    return SimpleNamespace(model=net, optimizer=opt, loss=loss, batches=list(crowd(300)))
