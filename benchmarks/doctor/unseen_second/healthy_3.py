# Continued from the checkpoint of last week. The moments that Adam has stored are old and the second moments are
# some thousand times larger in one layer than in another. The first loss is already low and it falls only slowly.
import torch
import torch.nn.functional as F
from torch import nn


class CrossNet(nn.Module):
    """Deep & cross network for click prediction."""

    def __init__(self, n_cat=30, dim=6, n_num=8):
        super().__init__()
        self.site = nn.Embedding(n_cat, dim)
        self.device = nn.Embedding(n_cat, dim)
        width = 2 * dim + n_num
        self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(width, 1)

    def forward(self, cats, nums):
        x0 = torch.cat([self.site(cats[:, 0]), self.device(cats[:, 1]), nums], dim=1)
        x = x0
        for layer in self.cross:
            x = x0 * layer(x) + x
        return self.out(self.drop(x)).squeeze(1)


def clicks(n, seed, bs=64):
    fixed = torch.Generator().manual_seed(4)
    site, w = torch.randn(30, generator=fixed), torch.randn(8, generator=fixed)
    g = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(n):
        cats = torch.randint(0, 30, (bs, 2), generator=g)
        nums = torch.randn(bs, 8, generator=g)
        score = 2 * site[cats[:, 0]] + nums @ w + nums[:, 0] * site[cats[:, 1]]
        out.append((cats, nums, (torch.rand(bs, generator=g) < torch.sigmoid(2 * score)).float()))
    return out


def loss_fn(model, batch):
    cats, nums, click = batch
    return F.binary_cross_entropy_with_logits(model(cats, nums), click)


def build():
    model = CrossNet()
    decay = [p for name, p in model.named_parameters() if name.endswith("weight")]
    no_decay = [p for name, p in model.named_parameters() if not name.endswith("weight")]
    groups = [{"params": decay, "weight_decay": 1e-2}, {"params": no_decay, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=4e-3)
    return model, optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.997)


def train_step(run, batch):
    run.optimizer.zero_grad()
    loss = run.loss(run.model, batch)
    loss.backward()
    run.optimizer.step()
    run.scheduler.step()
    return loss.item()


class Run:
    def __init__(self):
        torch.manual_seed(73)
        self.loss, self.step = loss_fn, train_step
        self.model, self.optimizer, self.scheduler = build()
        for batch in clicks(100, seed=1):
            train_step(self, batch)
        parts = [p.state_dict() for p in (self.model, self.optimizer, self.scheduler)]
        self.model, self.optimizer, self.scheduler = build()
        for part, state in zip((self.model, self.optimizer, self.scheduler), parts, strict=True):
            part.load_state_dict(state)
        self.batches = clicks(300, seed=2)


def make_run():
    return Run()
