# Denoiser for raw night photos, loss is computed on the developed (sRGB) picture. The printed loss is always a
# normal number, but suddenly the whole network is nan. Loss on the linear picture works but looks worse.
import torch
import torch.nn.functional as F
from torch import nn


class ResBlock(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.a = nn.Conv2d(ch, ch, 3, padding=1)
        self.b = nn.Conv2d(ch, ch, 3, padding=1)

    def forward(self, x):
        return x + 0.5 * self.b(F.leaky_relu(self.a(x), 0.1))


class Denoiser(nn.Module):
    def __init__(self, ch=10):
        super().__init__()
        self.head = nn.Conv2d(3, ch, 3, padding=1)
        self.block = ResBlock(ch)
        self.tail = nn.Conv2d(ch, 3, 3, padding=1)
        nn.init.normal_(self.tail.weight, std=0.02)
        nn.init.constant_(self.tail.bias, 0.4)  # type: ignore  # start from a uniform grey

    def forward(self, raw):
        h = self.block(self.head(raw))
        return self.tail(h)


def linear_to_srgb(c):
    """IEC 61966-2-1."""
    return torch.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)


def photo_loss(model, batch):
    raw, clean = batch
    return F.l1_loss(linear_to_srgb(model(raw)), linear_to_srgb(clean))


class NightPhotos:
    """Smooth scenes, most of it dark, with shot noise."""

    def __init__(self, n, bs=4, size=16):
        g = torch.Generator().manual_seed(17)
        self.items = []
        for _ in range(n):
            coarse = torch.rand(bs, 3, 4, 4, generator=g) ** 2
            clean = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
            clean = (clean - 0.15).clamp(min=0)  # black sky
            noise = torch.randn(clean.shape, generator=g) * (0.02 + 0.1 * clean.sqrt())
            self.items.append((clean + noise, clean))


def make_run():
    torch.manual_seed(17)

    class Run:
        model = Denoiser()
        batches = NightPhotos(300).items
        loss = staticmethod(photo_loss)

    run = Run()
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=2e-3)  # type: ignore
    return run
