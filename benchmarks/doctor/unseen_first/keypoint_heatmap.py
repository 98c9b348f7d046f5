# Keypoint detector with focal loss. Loss starts very low already (as the RetinaNet paper says) but then nothing,
# the heatmap is the same flat grey for each image. lr from 1e-4 to 1e-1 tried, no difference.
import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

SIZE = 12


class Detector(nn.Module):
    def __init__(self, ch=12, prior=0.1):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, ch, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(ch, ch, 3, padding=1),
            nn.ReLU(),
        )
        self.heatmap = nn.Conv2d(ch, 2, 1)
        self.prior = prior
        self.apply(self._init_weights)

    def _init_weights(self, m):
        if isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight, std=0.05)
            # foreground probability at the start = prior
            nn.init.constant_(m.bias, -math.log((1 - self.prior) / self.prior))  # type: ignore

    def forward(self, img):
        return self.heatmap(self.backbone(img))


def focal_loss(model, batch, gamma=2.0):
    img, target = batch
    logits = model(img)
    ce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p_t = torch.exp(-ce)
    return ((1 - p_t) ** gamma * ce).sum() / target.sum()


def scenes(n=300, bs=8, seed=14):
    """Draw a plus and a cross somewhere in the noise; the two channels are their centres."""
    g = torch.Generator().manual_seed(seed)
    plus = torch.tensor([[0.0, 1, 0], [1, 1, 1], [0, 1, 0]])
    cross = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])
    out = []
    for _ in range(n):
        img = 0.2 * torch.randn(bs, 1, SIZE, SIZE, generator=g)
        target = torch.zeros(bs, 2, SIZE, SIZE)
        for b in range(bs):
            for c, shape in enumerate((plus, cross)):
                r, s = torch.randint(1, SIZE - 1, (2,), generator=g).tolist()
                img[b, 0, r - 1 : r + 2, s - 1 : s + 2] += shape
                target[b, c, r, s] = 1.0
        out.append((img, target))
    return out


def make_run():
    torch.manual_seed(14)
    model = Detector()
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    return SimpleNamespace(model=model, optimizer=opt, loss=focal_loss, batches=scenes())
