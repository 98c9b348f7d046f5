# Generating point sets with an optimal transport loss. With reg = 0.5 it runs but all rings are blurred, with the small
# reg of the paper I get nan at once. Same in double precision (torch.set_default_dtype(torch.float64)).
from types import SimpleNamespace

import torch
from torch import nn

N_POINTS = 16
REG = 0.002


class RingDecoder(nn.Module):
    """From (centre, radius, colour) to a set of points; every point has its own learned query."""

    def __init__(self, dim=32):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(N_POINTS, dim))
        self.cond = nn.Linear(4, dim)
        self.hidden = nn.Linear(dim, 64)
        self.xy = nn.Linear(64, 2)

    def forward(self, code):
        h = torch.tanh(self.queries + self.cond(code).unsqueeze(1))
        return self.xy(torch.relu(self.hidden(h)))


class Sinkhorn(nn.Module):
    def __init__(self, reg, n_iter=15):
        super().__init__()
        self.reg, self.n_iter = reg, n_iter

    def forward(self, x, y):
        cost = ((x.unsqueeze(2) - y.unsqueeze(1)) ** 2).sum(-1)
        K = torch.exp(-cost / self.reg)
        u = v = torch.ones_like(y[..., :1])
        for _ in range(self.n_iter):
            u = (1 / N_POINTS) / (K @ v)
            v = (1 / N_POINTS) / (K.transpose(1, 2) @ u)
        plan = u * K * v.transpose(1, 2)
        return (plan * cost).sum(dim=(1, 2))


class TransportLoss:
    def __init__(self, reg=REG):
        self.sinkhorn = Sinkhorn(reg)

    def __call__(self, model, batch):
        code, points = batch
        return self.sinkhorn(model(code), points).mean()


def rings(n=300, bs=16, seed=82):
    g = torch.Generator().manual_seed(seed)
    dtype = torch.get_default_dtype()
    out = []
    for _ in range(n):
        centre = 1.5 * torch.randn(bs, 1, 2, generator=g)
        radius = 0.3 + 0.5 * torch.rand(bs, 1, 1, generator=g)
        angle = 6.2832 * torch.rand(bs, N_POINTS, 1, generator=g)
        points = centre + radius * torch.cat([angle.cos(), angle.sin()], dim=-1)
        colour = torch.rand(bs, 1, generator=g)
        code = torch.cat([centre.squeeze(1), radius.squeeze(1), colour], dim=1)
        out.append((code.to(dtype), points.to(dtype)))
    return out


def make_run():
    torch.manual_seed(82)
    model = RingDecoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=TransportLoss(), batches=rings())
