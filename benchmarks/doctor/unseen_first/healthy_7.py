# Fine-tuning only the last layer of a pretrained net, batch size 6 and strong dropout. Most parameters have no
# gradient at all and the loss is very noisy.
from types import SimpleNamespace

import torch
from torch import nn


class Backbone(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.stem = nn.Linear(20, d)
        self.blocks = nn.ModuleList(nn.Linear(d, d) for _ in range(3))

    def forward(self, x):
        h = self.stem(x)
        for block in self.blocks:
            h = h + torch.relu(block(h))
        return h


class FineTuned(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.norm = nn.LayerNorm(64, elementwise_affine=False)
        self.drop = nn.Dropout(0.4)
        self.classifier = nn.Linear(64, 3)

    def forward(self, x):
        return self.classifier(self.drop(self.norm(self.backbone(x))))


def samples(n, bs, w, gen):
    for _ in range(n):
        x = torch.randn(bs, 20, generator=gen)
        yield x, (x @ w).argmax(dim=1)


def loss_fn(model, batch):
    x, y = batch
    return nn.functional.cross_entropy(model(x), y)


def pretrained(gen):
    """Train the backbone on the big old data set."""
    model = nn.Sequential(Backbone(), nn.Linear(64, 8))
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for batch in samples(60, 64, torch.randn(20, 8, generator=gen), gen):
        opt.zero_grad()
        loss_fn(model, batch).backward()
        opt.step()
    return model[0]


def make_run():
    torch.manual_seed(19)
    gen = torch.Generator().manual_seed(19)
    model = FineTuned(pretrained(gen))
    model.backbone.requires_grad_(False)
    batches = list(samples(300, 6, torch.randn(20, 3, generator=gen), gen))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=loss_fn, batches=batches)
