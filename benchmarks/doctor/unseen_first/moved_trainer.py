# We moved from our old home-made trainer to a new one and continued from its checkpoint (weights + optimizer).
# Weights are loaded correctly, the loss continues at the same value - and stays there. Not nan, just no progress.
from types import SimpleNamespace

import torch
from torch import nn

N_TAGS, N_WORDS, LEN = 6, 50, 14


class Tagger(nn.Module):
    def __init__(self, dim=24, hidden=32):
        super().__init__()
        self.emb = nn.Embedding(N_WORDS, dim)
        self.gru = nn.GRU(dim, hidden, batch_first=True, bidirectional=True)
        self.tag = nn.Linear(2 * hidden, N_TAGS)

    def forward(self, words):
        h, _ = self.gru(self.emb(words))
        return self.tag(h)


def tagging_loss(model, batch):
    words, tags = batch
    return nn.functional.cross_entropy(model(words).flatten(0, 1), tags.flatten())


def corpus(n, seed, bs=16):
    """Make text whose tag depends on the word and on the word before it."""
    table = torch.randint(0, 3, (N_WORDS,), generator=torch.Generator().manual_seed(0))
    g = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(n):
        words = torch.randint(0, N_WORDS, (bs, LEN), generator=g)
        prev = torch.cat([words[:, :1], words[:, :-1]], dim=1)
        out.append((words, table[words] + 3 * (table[prev] == 0).long()))
    return out


def new_optimizer(model):
    return torch.optim.Adam(model.parameters(), lr=2e-3)


def old_trainer(steps=25):
    """Do what the old code did, shortened. The factor is from the time when it still ran in fp16."""
    torch.manual_seed(31)
    model = Tagger()
    optimizer = new_optimizer(model)
    for batch in corpus(steps, seed=1):
        optimizer.zero_grad()
        loss = tagging_loss(model, batch)
        (loss * 65536).backward()
        optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": steps}


def make_run():
    ckpt = old_trainer()
    model = Tagger()
    model.load_state_dict(ckpt["model"])
    optimizer = new_optimizer(model)
    optimizer.load_state_dict(ckpt["optimizer"])
    return SimpleNamespace(model=model, optimizer=optimizer, loss=tagging_loss, batches=corpus(300, seed=2))
