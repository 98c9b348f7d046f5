"""A causal transformer that predicts the next token of a Markov chain; AdamW with a warm-up."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.doctor.run import STEPS, Run

TOKENS = 16
LENGTH = 16


class PrunedAttention(nn.Module):
    """Causal attention that drops weights below `threshold`, which grows by `growth` with every training step.

    `keep_largest` keeps the largest weight of each row at any threshold.
    """

    threshold: torch.Tensor

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.register_buffer("threshold", torch.zeros(()))
        self.growth = 0.0
        self.keep_largest = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size, length, width = x.shape
        q, k, v = self.qkv(x).view(size, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5
        scores = scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), -torch.inf)
        if self.growth:
            if self.training:
                self.threshold += self.growth
            weights = scores.detach().softmax(-1)
            limit = self.threshold
            if self.keep_largest:
                limit = limit.minimum(weights.amax(-1, keepdim=True))
            scores = scores.masked_fill(weights < limit, -torch.inf)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(size, length, width))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), PrunedAttention(width, 2)
        self.norm2 = nn.LayerNorm(width)
        self.ff = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.ff(self.norm2(x))


class LanguageModel(nn.Module):
    def __init__(self, width: int = 24, blocks: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, width)
        self.position = nn.Parameter(torch.randn(LENGTH, width) * 0.1)
        self.blocks = nn.ModuleList([Block(width) for _ in range(blocks)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, TOKENS, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def batches(seed: int, size: int = 8, steps: int = STEPS) -> list[torch.Tensor]:
    """Draw text of a chain in which every token has three followers; a batch is (N, length + 1)."""
    generator = torch.Generator().manual_seed(seed)
    followers = torch.stack([torch.randperm(TOKENS, generator=generator)[:3] for _ in range(TOKENS)])
    text = torch.zeros(steps, size, LENGTH + 1, dtype=torch.long)
    text[..., 0] = torch.randint(TOKENS, (steps, size), generator=generator)
    for place in range(LENGTH):
        which = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), steps * size, True, generator=generator)
        text[..., place + 1] = followers[text[..., place].flatten(), which].view(steps, size)
    return list(text)


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


def make(seed: int, steps: int = STEPS) -> Run:
    torch.manual_seed(seed)
    model = LanguageModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 20))
    return Run(model, optimizer, loss, batches(seed, steps=steps), scheduler=scheduler)
