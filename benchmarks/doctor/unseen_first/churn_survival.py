# Time-to-churn model (Weibull regression with censoring). Trains nicely for a while, then from one step to the
# next the loss is nan and so are all weights. Other seeds for the network: nan at exactly the same step.
from types import SimpleNamespace

import torch
import torch.nn as nn

BS = 64
N_STEPS = 300


class WeibullNet(nn.Module):
    def __init__(self, n_features=10):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_features, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU())
        self.log_scale = nn.Linear(48, 1)
        self.log_shape = nn.Linear(48, 1)

    def forward(self, x):
        h = self.body(x)
        return self.log_scale(h).squeeze(-1), self.log_shape(h).squeeze(-1)


def weibull_nll(model, batch):
    log_lam, log_k = model(batch["x"])
    k = log_k.exp()
    z = batch["years"].log() - log_lam
    hazard = log_k + k * z - batch["years"].log()
    cumulative = torch.exp(k * z)
    return (cumulative - batch["churned"] * hazard).mean()


def load_customers(seed=21):
    """Read the export of the CRM: day of signup, day of the last contact, did he leave."""
    g = torch.Generator().manual_seed(seed)
    n = BS * N_STEPS
    x = torch.randn(n, 10, generator=g)
    scale = torch.exp(0.8 * x[:, 0] - 0.6 * x[:, 1] + 0.5 * x[:, 2] * x[:, 3])
    u = torch.rand(n, generator=g).clamp(1e-4, 1 - 1e-4)
    life = 365 * scale * (-u.log()) ** (1 / 1.8)
    signup = torch.randint(0, 1500, (n,), generator=g).float()
    churned = (life < 730).float()
    last = signup + life.clamp(5, 730)
    # somebody typed in the two dates of this contract the wrong way round
    signup[5323], last[5323] = last[5323].clone(), signup[5323].clone()
    return x, signup, last, churned


def make_batches():
    x, signup, last, churned = load_customers()
    years = (last - signup) / 365
    batches = []
    for i in range(0, len(x), BS):
        s = slice(i, i + BS)
        batches.append({"x": x[s], "years": years[s], "churned": churned[s]})
    return batches


def make_run():
    torch.manual_seed(21)
    model = WeibullNet()
    return SimpleNamespace(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        loss=weibull_nll,
        batches=make_batches(),
    )
