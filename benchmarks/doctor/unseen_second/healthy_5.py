# Cross attention from questions to tables. Some tables are empty, so every entry of their row of the attention is
# masked, and I read that this gives nan. I use -1e9 for the mask. Also the gradient of many embeddings is exactly zero.
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

CELLS, KEYS, ANSWERS = 6, 40, 5


class TableReader(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.key = nn.Embedding(KEYS, dim)
        self.value = nn.Embedding(ANSWERS, dim)
        self.question = nn.Embedding(KEYS, dim)
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(dim, dim)
        self.empty = nn.Parameter(torch.zeros(dim))
        self.answer = nn.Linear(dim, ANSWERS + 1)

    def forward(self, ask, keys, values, present):
        q, k = self.to_q(self.question(ask)), self.to_k(self.key(keys))
        score = torch.einsum("bd,bnd->bn", q, k) / k.shape[-1] ** 0.5
        att = score.masked_fill(~present, -1e9).softmax(dim=-1)
        found = torch.einsum("bn,bnd->bd", att, self.value(values))
        nothing = ~present.any(dim=1, keepdim=True)
        return self.answer(torch.where(nothing, self.empty, found))


def loss_fn(model, batch):
    *inputs, target = batch
    return F.cross_entropy(model(*inputs), target)


def questions(n=300, bs=64, seed=22):
    g = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(n):
        keys = torch.rand(bs, KEYS, generator=g).argsort(dim=1)[:, :CELLS]
        values = torch.randint(0, ANSWERS, (bs, CELLS), generator=g)
        filled = torch.randint(0, CELLS + 1, (bs, 1), generator=g)
        present = torch.arange(CELLS) < filled
        pick = (torch.rand(bs, 1, generator=g) * filled).long()
        target = values.gather(1, pick).squeeze(1)
        target[filled.squeeze(1) == 0] = ANSWERS  # "not in the table"
        out.append((keys.gather(1, pick).squeeze(1), keys, values, present, target))
    return out


def make_run():
    torch.manual_seed(22)
    model = TableReader()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=loss_fn, batches=questions())
