# Electricity load forecast, mixed precision. First loss is fine, after one step everything is nan. The old GPU
# had no fp16 and there the same script worked. Loss scaling is done by hand, GradScaler does not fit our launcher.
from types import SimpleNamespace

import torch
from torch import nn

LOOKBACK, HORIZON, D = 48, 12, 32
LOSS_SCALE = 2.0**16


class MixerBlock(nn.Module):
    def __init__(self, steps, dim):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.time = nn.Sequential(nn.Linear(steps, steps), nn.GELU(), nn.Linear(steps, steps))
        self.norm2 = nn.LayerNorm(dim)
        self.chan = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))

    def forward(self, x):
        x = x + self.time(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.chan(self.norm2(x))


class LoadMixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(2, D)
        self.block = MixerBlock(LOOKBACK, D)
        self.head = nn.Linear(LOOKBACK * D, HORIZON)

    def forward(self, x):
        h = self.block(self.embed(x))
        return self.head(h.flatten(1))


def loss_fn(model, batch):
    past, future = batch
    with torch.autocast("cpu", dtype=torch.float16):
        pred = model(past)
    # sum over the horizon (hours), mean over the households
    return (pred.float() - future).abs().pow(1.5).sum(dim=1).mean()


def scaled_step(run, batch):
    run.optimizer.zero_grad()
    loss = run.loss(run.model, batch)
    (loss * LOSS_SCALE).backward()
    for p in run.model.parameters():
        p.grad /= LOSS_SCALE
    run.optimizer.step()
    return loss.item()


def households(n=300, bs=8):
    g = torch.Generator().manual_seed(8)
    t = torch.arange(LOOKBACK + HORIZON).float()
    batches = []
    for _ in range(n):
        phase, base = torch.rand(bs, 1, generator=g) * 24, 8 + 4 * torch.rand(bs, 1, generator=g)
        kw = base + 3 * torch.sin((t + phase) * 6.2832 / 24) + 0.3 * torch.randn(bs, len(t), generator=g)
        hour = ((t + phase) % 24 / 24).expand(bs, -1)
        x = torch.stack([kw / 10, hour], dim=-1)[:, :LOOKBACK]
        batches.append((x, kw[:, LOOKBACK:]))
    return batches


def make_run():
    torch.manual_seed(8)
    net = LoadMixer()
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3)
    return SimpleNamespace(model=net, optimizer=opt, loss=loss_fn, batches=households(), step=scaled_step)
