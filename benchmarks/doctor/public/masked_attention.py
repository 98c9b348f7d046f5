# Minimal repro: our text classifier gets NaN after a while. Loss looks great until then.
import random
from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

PAD = 0
VOCAB = 30
MAX_LEN = 10


class SelfAttention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x, mask):
        q, k, v = self.query(x), self.key(x), self.value(x)
        att = torch.bmm(q, k.transpose(1, 2)) / q.size(-1) ** 0.5
        # padding neither attends nor is attended to
        allowed = mask.unsqueeze(1) & mask.unsqueeze(2)
        att = att.masked_fill(~allowed, float("-inf"))
        return torch.bmm(self.softmax(att), v)


class TextNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, 16, padding_idx=PAD)
        self.attn = SelfAttention(16)
        self.fc = nn.Linear(16, 3)

    def forward(self, ids):
        mask = ids != PAD
        h = self.emb(ids)
        h = h + self.attn(h, mask)
        m = mask.unsqueeze(-1).float()
        h = (h * m).sum(1) / m.sum(1)
        return self.fc(h)


def load_data():
    """Buckets by length like our real loader: the long sentences first, then everything shorter."""
    rnd = random.Random(7)
    data = []
    for i in range(300):
        ids, labels = [], []
        for _ in range(16):
            label = rnd.randrange(3)
            n = MAX_LEN if i < 34 else rnd.randint(3, MAX_LEN)
            words = [rnd.randrange(1, VOCAB) if rnd.random() < 0.6 else 1 + label for _ in range(n)]
            ids.append(words + [PAD] * (MAX_LEN - n))
            labels.append(label)
        data.append((torch.tensor(ids), torch.tensor(labels)))
    return data


def compute_loss(model, batch):
    ids, labels = batch
    return F.cross_entropy(model(ids), labels)


def make_run():
    torch.manual_seed(0)
    model = TextNet()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return SimpleNamespace(model=model, optimizer=opt, loss=compute_loss, batches=load_data())
