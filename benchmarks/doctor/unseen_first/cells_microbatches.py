# Cell segmentation. My new laptop has less memory, so I split each batch in pieces of 1 image. Same seed, same lr,
# same data as on the server, but here the loss blows up.
import torch
import torch.nn.functional as F
from torch import nn

BATCH, SIZE = 16, 16


class TinyUNet(nn.Module):
    def __init__(self, ch=6):
        super().__init__()
        self.down = nn.Conv2d(1, ch, 3, padding=1)
        self.mid = nn.Conv2d(ch, 2 * ch, 3, padding=1)
        self.up = nn.Conv2d(3 * ch, ch, 3, padding=1)
        self.out = nn.Conv2d(ch, 1, 1)

    def forward(self, img):
        a = F.relu(self.down(img))
        b = F.relu(self.mid(F.max_pool2d(a, 2)))
        b = F.interpolate(b, scale_factor=2)
        return self.out(F.relu(self.up(torch.cat([a, b], dim=1))))


def distance_loss(model, batch):
    """We regress the distance map to the cell centre, as in the star-convex papers."""
    img, dist = batch
    return F.mse_loss(model(img), dist)


def train_step(run, batch):
    run.optimizer.zero_grad()
    total = 0.0
    for img, dist in zip(batch[0].split(1), batch[1].split(1), strict=True):
        loss = run.loss(run.model, (img, dist))
        loss.backward()
        total += loss.item()
    run.optimizer.step()
    return total / BATCH


def microscope(n):
    g = torch.Generator().manual_seed(40)
    yy, xx = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    for _ in range(n):
        cx, cy = 3 + 10 * torch.rand(2, BATCH, 1, 1, generator=g)
        radius = 3 + 3 * torch.rand(BATCH, 1, 1, generator=g)
        d = ((xx - cx) ** 2 + (yy - cy) ** 2).sqrt()
        dist = (radius - d).clamp(min=0)
        img = (d < radius).float() + 0.2 * torch.randn(d.shape, generator=g)
        yield img.unsqueeze(1), dist.unsqueeze(1)


class Run:
    def __init__(self):
        torch.manual_seed(40)
        self.model = TinyUNet()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.batches = list(microscope(300))
        self.loss = distance_loss
        self.step = train_step


def make_run():
    return Run()
