# Supervised contrastive loss. After the very first optimizer step all my weights are NaN, although
# the loss itself is a perfectly normal number.
from types import SimpleNamespace

import torch
import torch.nn as nn
from sklearn.datasets import load_digits


class Embedder(nn.Module):
    def __init__(self, out_dim=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, out_dim))

    def forward(self, x):
        return self.layers(x)


def pairwise_distances(z):
    """All euclidean distances between the rows of z."""
    diff = z.unsqueeze(0) - z.unsqueeze(1)
    return torch.sqrt((diff * diff).sum(dim=2))


class ContrastiveLoss:
    def __init__(self, margin=2.0):
        self.margin = margin

    def __call__(self, model, batch):
        x, y = batch
        d = pairwise_distances(model(x))
        same = (y.unsqueeze(0) == y.unsqueeze(1)).float()
        pull = same * d**2
        push = (1 - same) * torch.clamp(self.margin - d, min=0) ** 2
        return (pull + push).mean()


def make_run():
    torch.manual_seed(1)
    X, Y = load_digits(return_X_y=True)
    X = torch.from_numpy(X).float() / 16
    Y = torch.from_numpy(Y)
    run = SimpleNamespace()
    run.model = Embedder()
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=0.1)
    run.loss = ContrastiveLoss()
    run.batches = [(X[idx], Y[idx]) for idx in (torch.randint(0, len(X), (32,)) for _ in range(250))]
    return run
