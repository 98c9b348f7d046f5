# Accumulation over pieces with different numbers of documents (as they come from the tokenizer), zero_grad at the end
# of the step, no division by the number of pieces. A colleague says that this must be wrong.
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

WORDS, TOPICS = 120, 6


class BagClassifier(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.bag = nn.EmbeddingBag(WORDS, dim, mode="mean")
        self.fc = nn.Linear(dim, TOPICS)

    def forward(self, tokens, offsets):
        return self.fc(self.bag(tokens, offsets))


def loss_fn(model, batch):
    """Mean over all documents of all pieces of the batch."""
    n_docs = sum(len(topic) for _, _, topic in batch)
    total = torch.zeros(())
    for tokens, offsets, topic in batch:
        total = total + F.cross_entropy(model(tokens, offsets), topic, reduction="sum") / n_docs
    return total


def train_step(run, batch):
    n_docs = sum(len(topic) for _, _, topic in batch)
    printed = 0.0
    for piece in batch:
        share = len(piece[2]) / n_docs
        loss = share * run.loss(run.model, [piece])
        loss.backward()
        printed += loss.item()
    run.optimizer.step()
    run.optimizer.zero_grad()
    return printed


def corpus(n=300, seed=44):
    g = torch.Generator().manual_seed(seed)
    favourite = torch.randint(0, WORDS, (TOPICS, 12), generator=g)
    for _ in range(n):
        pieces = []
        for size in (3, 17, 1, 9):
            topic = torch.randint(0, TOPICS, (size,), generator=g)
            docs = []
            for t in topic.tolist():
                length = int(torch.randint(4, 20, (1,), generator=g))
                common = torch.randint(0, WORDS, (length,), generator=g)
                own = favourite[t][torch.randint(0, 12, (length,), generator=g)]
                docs.append(torch.where(torch.rand(length, generator=g) < 0.5, own, common))
            lengths = torch.tensor([0] + [len(d) for d in docs[:-1]])
            pieces.append((torch.cat(docs), lengths.cumsum(0), topic))
        yield pieces


def make_run():
    torch.manual_seed(44)
    model = BagClassifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return SimpleNamespace(model=model, optimizer=optimizer, loss=loss_fn, batches=list(corpus()), step=train_step)
