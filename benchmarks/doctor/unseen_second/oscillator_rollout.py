# Learning the dynamics of an oscillator from rollouts (backprop through the integrator). Diverges within the first
# steps, although the gradient norm is limited to 1 as in the original code. The reference implementation is stable.
from types import SimpleNamespace

import torch
from torch import nn

STEPS, DT = 30, 0.1
CLIP = 1.0


class Dynamics(nn.Module):
    """Acceleration as a function of position, velocity and the force from outside."""

    def __init__(self, hidden=32):
        super().__init__()
        self.inner = nn.Linear(3, hidden)
        self.accel = nn.Linear(hidden, 1)

    def forward(self, q, v, force):
        z = torch.cat([q, v, force], dim=-1)
        return self.accel(torch.relu(self.inner(z)))


def integrate(field, q, v, force):
    path = []
    for _ in range(STEPS):
        v = v + DT * field(q, v, force)
        q = q + DT * v
        path.append(q)
    return torch.stack(path, dim=1)


def rollout_loss(model, batch):
    q0, v0, force, path = batch
    return (integrate(model, q0, v0, force) - path).pow(2).mean()


def train_step(run, batch):
    loss = run.loss(run.model, batch)
    run.optimizer.zero_grad()
    loss.backward()
    run.optimizer.step()
    nn.utils.clip_grad_norm_(run.model.parameters(), CLIP)
    return loss.item()


def experiments(n=300, bs=16, seed=91):
    g = torch.Generator().manual_seed(seed)
    data = []
    with torch.no_grad():
        for _ in range(n):
            q0, v0, force = 1.5 * torch.randn(3, bs, 1, generator=g)
            path = integrate(lambda q, v, f: f - 2.0 * q.abs() * q.sign() - 0.3 * v, q0, v0, force)
            data.append((q0, v0, force, path))
    return data


def make_run():
    torch.manual_seed(91)
    model = Dynamics()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.06, momentum=0.9)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=rollout_loss, batches=experiments(), step=train_step)
