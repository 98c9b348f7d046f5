# Super resolution x2. Since I put the forward pass under autocast (fp16) the loss does not move at all, not even in
# the last digit. No nan or inf anywhere. Without autocast the same script gives sharp images.
import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {"pixel_weight": 1e-4, "perceptual_weight": 0.0, "lr": 2e-3, "amp": True}  # perceptual comes later


class UpNet(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.feat = nn.Conv2d(1, ch, 3, padding=1)
        self.mid = nn.Conv2d(ch, ch, 3, padding=1)
        self.to_pixels = nn.Conv2d(ch, 4, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, low):
        h = F.relu(self.feat(low))
        h = h + F.relu(self.mid(h))
        detail = self.shuffle(self.to_pixels(h))
        return F.interpolate(low, scale_factor=2, mode="nearest") + detail


def loss_fn(model, batch):
    low, high = batch
    with torch.autocast("cpu", dtype=torch.float16, enabled=CONFIG["amp"]):
        fake = model(low)
    return CONFIG["pixel_weight"] * F.l1_loss(fake.float(), high)


class Waves:
    """Textures with a few random waves each."""

    def __init__(self, seed, size=24, bs=8):
        self.seed, self.size, self.bs = seed, size, bs

    def __call__(self, index):
        g = torch.Generator().manual_seed(self.seed * 10_000 + index)
        yy, xx = torch.meshgrid(torch.arange(self.size), torch.arange(self.size), indexing="ij")
        high = torch.zeros(self.bs, self.size, self.size)
        for _ in range(3):
            fx, fy = 1.2 * torch.rand(2, self.bs, 1, 1, generator=g)
            phase = 6.2832 * torch.rand(self.bs, 1, 1, generator=g)
            high += torch.sin(fx * xx + fy * yy + phase) / 3
        high = high.unsqueeze(1)
        return F.avg_pool2d(high, 2), high


class Experiment:
    def __init__(self):
        torch.manual_seed(64)
        self.model = UpNet()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=CONFIG["lr"])
        self.loss = loss_fn
        self.batch = Waves(64)


def make_run():
    return Experiment()
