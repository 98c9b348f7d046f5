# Mixture of experts for a robot's inverse dynamics. Fine for some dozens of steps, then nan. Happens with most
# seeds, at a different step each time, and also after torch.set_default_dtype(torch.float64).
from types import SimpleNamespace

import torch
from torch import nn


class Expert(nn.Module):
    def __init__(self, d_in, d_out, hidden=24):
        super().__init__()
        self.up = nn.Linear(d_in, hidden)
        self.down = nn.Linear(hidden, d_out)

    def forward(self, x):
        return self.down(torch.tanh(self.up(x)))


class Router(nn.Module):
    """Non-negative weights that sum to one; experts that are not needed get exactly zero."""

    def __init__(self, d_in, n_experts):
        super().__init__()
        self.score = nn.Linear(d_in, n_experts)
        nn.init.constant_(self.score.bias, 0.5)

    def forward(self, x):
        g = torch.relu(self.score(x))
        return g / g.sum(dim=-1, keepdim=True)


class SparseMoE(nn.Module):
    def __init__(self, d_in=8, d_out=3, n_experts=4):
        super().__init__()
        self.router = Router(d_in, n_experts)
        self.experts = nn.ModuleList(Expert(d_in, d_out) for _ in range(n_experts))

    def forward(self, x):
        w = self.router(x)
        y = torch.stack([e(x) for e in self.experts], dim=1)
        return (w.unsqueeze(-1) * y).sum(dim=1)


def torque_loss(model, batch):
    state, torque = batch
    return nn.functional.mse_loss(model(state), torque)


def trajectories(n=300, bs=64, seed=4):
    g = torch.Generator().manual_seed(seed)
    A = torch.randn(4, 8, 3, generator=g)
    corner = torch.randn(4, 8, generator=g)
    out = []
    for _ in range(n):
        s = torch.rand(bs, 8, generator=g) * 2 - 1
        regime = (s @ corner.T).argmax(dim=1)
        tau = torch.einsum("bi,bij->bj", s, A[regime])
        dtype = torch.get_default_dtype()
        out.append((s.to(dtype), tau.to(dtype)))
    return out


def make_run():
    torch.manual_seed(5)
    model = SparseMoE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=torque_loss, batches=trajectories())
