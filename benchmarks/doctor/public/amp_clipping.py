# Since we switched on mixed precision + gradient clipping nothing is learned any more.
# The loss is not nan, it just doesn't move.
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits


class SmallCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3)
        self.conv2 = nn.Conv2d(8, 16, 3)
        self.out = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return self.out(x.flatten(1))


class Trainer:
    max_grad_norm = 1.0

    def __init__(self):
        torch.manual_seed(0)
        self.model = SmallCNN()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.scaler = torch.amp.GradScaler("cpu")
        data = load_digits()
        images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16  # type: ignore
        labels = torch.tensor(data.target)  # type: ignore
        perm = torch.randperm(len(images))
        self.images, self.labels = images[perm], labels[perm]
        self.step = train_step

    def batch(self, index):
        bs = 32
        start = (index * bs) % (len(self.images) - bs)
        return self.images[start : start + bs], self.labels[start : start + bs]

    def loss(self, model, batch):
        x, y = batch
        return F.cross_entropy(model(x), y)


def train_step(trainer, batch):
    trainer.optimizer.zero_grad(set_to_none=True)
    loss = trainer.loss(trainer.model, batch)
    trainer.scaler.scale(loss).backward()
    torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), trainer.max_grad_norm)
    trainer.scaler.step(trainer.optimizer)
    trainer.scaler.update()
    return loss.item()


def make_run():
    return Trainer()
