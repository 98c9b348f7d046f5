# Bike rental demand per hour. Loss goes down to the variance of the data and no further, the model predicts
# (almost) the same number for all hours. Gradient boosting gets R2 = 0.9 on the same features.
from types import SimpleNamespace

import torch
from torch import nn


class DemandNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.hour = nn.Embedding(24, 8)
        self.weekday = nn.Embedding(7, 4)
        self.mlp = nn.Sequential(
            nn.Linear(8 + 4 + 3, 48),
            nn.ELU(),
            nn.Linear(48, 48),
            nn.ELU(),
            nn.Linear(48, 1),
        )

    def forward(self, hour, weekday, weather):
        h = torch.cat([self.hour(hour), self.weekday(weekday), weather], dim=-1)
        return self.mlp(h)


def squared_error(model, batch):
    demand = model(batch["hour"], batch["weekday"], batch["weather"])
    err = demand - batch["count"]
    return (err**2).mean()


def rentals(n, bs=64, seed=5):
    g = torch.Generator().manual_seed(seed)
    hour_effect = torch.sin(torch.arange(24) * 6.2832 / 24 - 2.0)
    for _ in range(n):
        hour = torch.randint(0, 24, (bs,), generator=g)
        weekday = torch.randint(0, 7, (bs,), generator=g)
        weather = torch.randn(bs, 3, generator=g)
        count = 1.2 * hour_effect[hour] + 0.5 * weather[:, 0] - 0.4 * (weekday > 4).float() * hour_effect[hour]
        yield {
            "hour": hour,
            "weekday": weekday,
            "weather": weather,
            "count": count + 0.2 * torch.randn(bs, generator=g),  # standardised log counts
        }


def make_run():
    torch.manual_seed(5)
    model = DemandNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=squared_error, batches=list(rentals(300)))
