# Two-tower matching of job adverts and CVs. A whole batch does not fit into memory any more, so it goes in chunks. I
# divide by the number of chunks as everybody says, but it diverges; with one single chunk it is as stable as before.
import torch
from torch import nn

CHUNKS = 8


class Tower(nn.Module):
    def __init__(self, n_in, dim=16):
        super().__init__()
        self.wide = nn.Linear(n_in, 48)
        self.deep = nn.Linear(48, dim)

    def forward(self, x):
        return self.deep(nn.functional.gelu(self.wide(x)))


class TwoTowers(nn.Module):
    def __init__(self):
        super().__init__()
        self.advert = Tower(14)
        self.cv = Tower(10)

    def forward(self, advert, cv):
        return (self.advert(advert) * self.cv(cv)).sum(dim=1)


def match_loss(model, batch):
    advert, cv, rating = batch
    return nn.functional.mse_loss(model(advert, cv), rating)


def train_step(run, batch):
    run.optimizer.zero_grad()
    total_loss = torch.zeros(())
    for chunk in zip(*(t.chunk(CHUNKS) for t in batch), strict=True):
        loss = run.loss(run.model, chunk) / CHUNKS
        total_loss = total_loss + loss
        total_loss.backward(retain_graph=True)
    run.optimizer.step()
    return total_loss.item()


class Applications:
    """What the recruiters said about pairs of advert and CV."""

    def __init__(self, n_batches, bs=64, seed=29):
        g = torch.Generator().manual_seed(seed)
        A, B = torch.randn(14, 4, generator=g) / 3, torch.randn(10, 4, generator=g) / 3
        self.rows = []
        for _ in range(n_batches):
            advert, cv = torch.randn(bs, 14, generator=g), torch.randn(bs, 10, generator=g)
            rating = (torch.tanh(advert @ A) * (cv @ B)).sum(1)
            self.rows.append((advert, cv, rating + 0.1 * torch.randn(bs, generator=g)))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


class Run:
    def __init__(self):
        torch.manual_seed(29)
        self.model = TwoTowers()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.04, momentum=0.9)
        self.batches = Applications(300).rows
        self.loss = match_loss
        self.step = train_step


def make_run():
    return Run()
