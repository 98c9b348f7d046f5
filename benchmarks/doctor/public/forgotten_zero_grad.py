# House prices. Loss decreases in the first few steps, then it oscillates more and more until it is huge.
# Smaller learning rate only delays it.
from types import SimpleNamespace

import torch
from torch import nn

torch.set_default_dtype(torch.float32)


def build_model():
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 1))


def house_prices(n_batches, bs=32):
    gen = torch.Generator().manual_seed(99)
    w = torch.tensor([0.8, -0.5, 0.3, 0.2, 0.0, 0.1])
    batches = []
    for _ in range(n_batches):
        X = torch.randn(bs, 6, generator=gen)
        price = X @ w + 0.3 * X[:, 0] * X[:, 1] + 0.1 * torch.randn(bs, generator=gen)
        batches.append((X, price.unsqueeze(1)))
    return batches


def mse(model, batch):
    X, price = batch
    return nn.functional.mse_loss(model(X), price)


def train_one_batch(run, batch):
    loss = run.loss(run.model, batch)
    loss.backward()
    run.optimizer.step()
    return loss.item()


def make_run():
    torch.manual_seed(99)
    net = build_model()
    return SimpleNamespace(
        model=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.01),
        loss=mse,
        batches=house_prices(280),
        step=train_one_batch,
    )
