# "Super-convergence": one cycle up to lr = 0.5 with SGD. While the learning rate is high the loss stops falling or goes
# up again, and the accuracy on the validation set is bad there. Should I stop the run?
import torch
import torch.nn.functional as F
from torch import nn


class SmallResNet(nn.Module):
    def __init__(self, ch=8, classes=3):
        super().__init__()
        self.stem = nn.Conv2d(1, ch, 3, padding=1, bias=False)
        self.bn0 = nn.BatchNorm2d(ch)
        self.conv1 = nn.Conv2d(ch, ch, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(ch)
        self.conv2 = nn.Conv2d(ch, ch, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(ch)
        self.fc = nn.Linear(ch, classes)

    def forward(self, img):
        h = F.relu(self.bn0(self.stem(img)))
        r = F.relu(self.bn1(self.conv1(h)))
        h = F.relu(h + self.bn2(self.conv2(r)))
        return self.fc(h.mean(dim=(2, 3)))


def shapes(n, bs=24, size=10):
    """Draw filled squares, hollow squares and diagonals."""
    g = torch.Generator().manual_seed(13)
    square = torch.ones(5, 5)
    hollow = F.pad(torch.zeros(3, 3), (1, 1, 1, 1), value=1.0)
    cross = ((torch.eye(5) + torch.eye(5).flip(0)) > 0).float()
    stamps = torch.stack([square, hollow, cross])
    for _ in range(n):
        kind = torch.randint(0, 3, (bs,), generator=g)
        img = 0.5 * torch.randn(bs, 1, size, size, generator=g)
        for b, k in enumerate(kind.tolist()):
            y, x = torch.randint(0, size - 5, (2,), generator=g).tolist()
            img[b, 0, y : y + 5, x : x + 5] += stamps[k]
        yield img, kind


class Run:
    def __init__(self, steps=300):
        torch.manual_seed(13)
        self.model = SmallResNet()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, max_lr=0.5, total_steps=steps + 1)
        self.batches = list(shapes(steps))

    def loss(self, model, batch):
        img, kind = batch
        return F.cross_entropy(model(img), kind)

    def step(self, run, batch):
        run.optimizer.zero_grad()
        loss = run.loss(run.model, batch)
        loss.backward()
        run.optimizer.step()
        run.scheduler.step()
        return loss.item()


def make_run():
    return Run()
