# Hourly views of videos, Poisson likelihood, Adam. In one iteration the loss is enormous, and then it stays high for
# the rest, as if the training was switched off. No nan. All counts are real, I looked at them in the web archive.
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

HOURS = 32


class CausalConv(nn.Module):
    def __init__(self, c_in, c_out, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.conv = nn.Conv1d(c_in, c_out, 3, dilation=dilation)

    def forward(self, x):
        return self.conv(F.pad(x, (self.pad, 0)))


class TCN(nn.Module):
    def __init__(self, ch=20):
        super().__init__()
        self.first = CausalConv(3, ch, 1)
        self.second = CausalConv(ch, ch, 2)
        self.third = CausalConv(ch, ch, 4)
        self.log_rate = nn.Conv1d(ch, 1, 1)

    def forward(self, x):
        h = F.silu(self.first(x))
        h = h + F.silu(self.second(h))
        h = h + F.silu(self.third(h))
        return self.log_rate(h).squeeze(1)


def poisson_loss(model, batch):
    x, views = batch
    return F.poisson_nll_loss(model(x), views, log_input=True, full=True)


def videos(n=300, bs=16, seed=53):
    g = torch.Generator().manual_seed(seed)
    batches = []
    for k in range(n):
        t = torch.arange(HOURS + 1) + 24 * torch.rand(bs, 1, generator=g)
        level = 0.8 + 0.6 * torch.randn(bs, 1, generator=g)
        news = (torch.rand(bs, HOURS + 1, generator=g) < 0.1).float()
        log_rate = level + 0.7 * torch.sin(t * 6.2832 / 24) + news
        views = torch.poisson(log_rate.clamp(max=4).exp(), generator=g)
        if k == 58:
            views[11, -9:] = torch.poisson(20_000_000 * 0.8 ** torch.arange(9.0), generator=g)  # this one went viral
        clock = torch.sin(t * 6.2832 / 24)
        x = torch.stack([views.clamp(max=99).log1p()[:, :-1], clock[:, 1:], news[:, 1:]], dim=1)
        batches.append((x, views[:, 1:]))
    return batches


def make_run():
    torch.manual_seed(53)
    net = TCN()
    adam = torch.optim.Adam(net.parameters(), lr=1e-2)
    return SimpleNamespace(model=net, optimizer=adam, loss=poisson_loss, batches=videos())
