# ReLU RNN (identity init as in the IRNN paper) with an averaged copy of the weights. Explodes although I clip
# the gradient norm to 1. A smaller max_norm changes nothing at all.
import copy
from types import SimpleNamespace

import torch
from torch import nn

T = 40
MAX_NORM = 1.0


class IRNN(nn.Module):
    def __init__(self, d_in=2, hidden=32):
        super().__init__()
        self.rnn = nn.RNN(d_in, hidden, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(hidden, 1)
        with torch.no_grad():
            self.rnn.weight_hh_l0.copy_(torch.eye(hidden))  # type: ignore
            self.rnn.bias_hh_l0.zero_()  # type: ignore
            self.rnn.bias_ih_l0.zero_()  # type: ignore

    def forward(self, x):
        h, _ = self.rnn(x)
        return self.head(h[:, -1]).squeeze(-1)


def sequences(n=300, bs=32):
    """Sum of the values whose marker is one."""
    g = torch.Generator().manual_seed(6)
    out = []
    for _ in range(n):
        value = torch.rand(bs, T, generator=g)
        marker = (torch.rand(bs, T, generator=g) < 0.2).float()
        out.append((torch.stack([value, marker], dim=-1), (value * marker).sum(1)))
    return out


def loss_fn(model, batch):
    x, y = batch
    return ((model(x) - y) ** 2).mean()


def update_ema(ema, model, decay=0.98):
    with torch.no_grad():
        for avg, p in zip(ema.parameters(), model.parameters(), strict=True):
            avg.lerp_(p, 1 - decay)


def train_step(run, batch):
    model, ema = run.model, run.ema
    run.optimizer.zero_grad()
    loss = run.loss(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(ema.parameters(), MAX_NORM)
    run.optimizer.step()
    update_ema(ema, model)
    return loss.item()


def make_run():
    torch.manual_seed(6)
    model = IRNN()
    run = SimpleNamespace(model=model, ema=copy.deepcopy(model), loss=loss_fn, batches=sequences(), step=train_step)
    run.optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return run
