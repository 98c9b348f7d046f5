# fp16 autocast with GradScaler: found inf in the first iterations, "optimizer.step() has been skipped", loss does
# not move there. Should I be worried?
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn


class PatchClassifier(nn.Module):
    def __init__(self, dim=32, classes=4):
        super().__init__()
        self.patch = nn.Linear(16, dim)
        self.norm = nn.LayerNorm(dim)
        self.ff = nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, dim))
        self.head = nn.Linear(dim, classes)

    def forward(self, img):
        p = F.unfold(img, 4, stride=4).transpose(1, 2)
        h = self.patch(p)
        h = h + self.ff(self.norm(h))
        return self.head(h.mean(dim=1))


def loss_fn(model, batch):
    img, label = batch
    with torch.autocast("cpu", dtype=torch.float16):
        logits = model(img)
    return F.cross_entropy(logits.float(), label)


def train_step(run, batch):
    run.optimizer.zero_grad(set_to_none=True)
    loss = run.loss(run.model, batch)
    run.scaler.scale(loss).backward()
    run.scaler.unscale_(run.optimizer)
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    return loss.item()


def textures(n=300, bs=24):
    """Four kinds of stripes."""
    g = torch.Generator().manual_seed(71)
    yy, xx = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    waves = torch.stack([xx, yy, (xx + yy) / 1.4, (xx - yy) / 1.4])
    out = []
    for _ in range(n):
        label = torch.randint(0, 4, (bs,), generator=g)
        phase = 6.28 * torch.rand(bs, 1, 1, generator=g)
        img = torch.sin(1.6 * waves[label] + phase) + 0.4 * torch.randn(bs, 12, 12, generator=g)
        out.append((img.unsqueeze(1), label))
    return out


def make_run():
    torch.manual_seed(71)
    model = PatchClassifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    return SimpleNamespace(
        model=model, optimizer=optimizer, scaler=scaler, loss=loss_fn, batches=textures(), step=train_step
    )
