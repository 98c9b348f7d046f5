"""A run that breaks: steadystep doctor --run examples/broken_run.py:make_run names why, and a fix that holds."""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn.functional import cross_entropy


class Attention(nn.Module):
    """Attention over the tokens of a sequence that are not padding (0)."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(32, 1)

    def forward(self, embedded: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return the mean of the tokens, weighted by their scores."""
        scores = self.score(embedded).squeeze(-1).masked_fill(tokens == 0, -torch.inf)
        return (scores.softmax(-1).unsqueeze(1) @ embedded).squeeze(1)


class Classifier(nn.Module):
    """Embeds tokens, attends to them, and tells two classes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.attention, self.head = nn.Embedding(50, 32), Attention(), nn.Linear(32, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of the two classes."""
        return self.head(self.attention(self.embedding(tokens), tokens))


def make_run() -> SimpleNamespace:
    """Return what the doctor needs: model, optimizer, loss and batches."""
    torch.manual_seed(0)
    model, batches = Classifier(), []
    for index in range(300):
        tokens = torch.randint(1, 50, (16, 12))
        labels = (tokens[:, 0] > 25).long()
        if index == 141:
            tokens[6] = 0  # a sequence of padding alone
        batches.append((tokens, labels))
    return SimpleNamespace(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        loss=lambda model, batch: cross_entropy(model(batch[0]), batch[1]),
        batches=batches,
    )
