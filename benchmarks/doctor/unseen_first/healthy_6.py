# Copying with a GRU, curriculum: sequences get longer at step 150. The loss makes a big jump there and the
# gradients too.
import torch
import torch.nn.functional as F
from torch import nn

SYMBOLS = 6


class Reverser(nn.Module):
    def __init__(self, dim=40):
        super().__init__()
        self.emb = nn.Embedding(SYMBOLS + 1, dim)
        self.enc = nn.GRU(dim, dim, batch_first=True)
        self.dec = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, SYMBOLS)

    def forward(self, seq):
        _, h = self.enc(self.emb(seq))
        query = self.emb(torch.full_like(seq, SYMBOLS))
        y, _ = self.dec(query, h)
        return self.out(y)


class Curriculum:
    def __init__(self, seed=88):
        torch.manual_seed(seed)
        self.model = Reverser()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=6e-3)
        self.seed = seed

    def batch(self, index):
        g = torch.Generator().manual_seed(1000 * self.seed + index)
        length = 3 if index < 150 else 5
        return torch.randint(0, SYMBOLS, (32, length), generator=g)

    def loss(self, model, seq):
        logits = model(seq)
        return F.cross_entropy(logits.flatten(0, 1), seq.flip(1).flatten())


def make_run():
    return Curriculum()
