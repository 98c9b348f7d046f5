# Recommender (matrix factorisation). To halve the memory I converted the model to bfloat16, since then the loss
# just stays where it starts. No nan, gradients look ok. Adam, lr as in the float version.
from types import SimpleNamespace

import torch
from torch import nn

N_USERS, N_ITEMS, RANK = 60, 80, 8


class MatrixFactorisation(nn.Module):
    def __init__(self):
        super().__init__()
        self.user = nn.Embedding(N_USERS, RANK)
        self.item = nn.Embedding(N_ITEMS, RANK)

    def forward(self, u, i):
        return (self.user(u).float() * self.item(i).float()).sum(-1)


def rating_loss(model, batch):
    u, i, stars = batch
    return (model(u, i) - stars).pow(2).mean()


def ratings(n, bs, seed=2):
    g = torch.Generator().manual_seed(seed)
    taste = torch.randn(N_USERS, 3, generator=g)
    genre = torch.randn(N_ITEMS, 3, generator=g)
    for _ in range(n):
        u = torch.randint(0, N_USERS, (bs,), generator=g)
        i = torch.randint(0, N_ITEMS, (bs,), generator=g)
        stars = 0.8 * (taste[u] * genre[i]).sum(-1)
        yield u, i, stars + 0.1 * torch.randn(bs, generator=g)


def make_run(dtype=torch.bfloat16):
    torch.manual_seed(2)
    model = MatrixFactorisation().to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=rating_loss, batches=list(ratings(300, 512)))
