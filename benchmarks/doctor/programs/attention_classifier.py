"""A transformer encoder that names the most frequent token of a padded sequence; AdamW."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.doctor.run import STEPS, Run

CLASSES = 5
TOKENS = 12
LONGEST = 12
PADDING = 0


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        size, length, width = x.shape
        q, k, v = self.qkv(x).view(size, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5
        scores = scores.masked_fill(padding[:, None, None, :], -torch.inf)
        return self.out((self.weights(scores) @ v).transpose(1, 2).reshape(size, length, width))

    def weights(self, scores: torch.Tensor) -> torch.Tensor:
        return scores.softmax(-1)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, 2)
        self.norm2 = nn.LayerNorm(width)
        self.ff = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x), padding)
        return x + self.ff(self.norm2(x))


class Encoder(nn.Module):
    def __init__(self, width: int = 24, blocks: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, width)
        self.position = nn.Parameter(torch.randn(LONGEST, width) * 0.1)
        self.blocks = nn.ModuleList([Block(width) for _ in range(blocks)])
        self.head = nn.Linear(width, CLASSES)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        padding = tokens == PADDING
        x = self.embed(tokens) + self.position
        for block in self.blocks:
            x = block(x, padding)
        inside = (~padding).unsqueeze(-1)
        return self.head((x * inside).sum(1) / inside.sum(1))


def batches(seed: int, size: int = 16, steps: int = STEPS) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Draw sequences in which one of the tokens 1 to 5 has three places, and all others are random; a tenth lie."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(steps):
        y = torch.randint(CLASSES, (size,), generator=generator)
        tokens = torch.randint(CLASSES + 1, TOKENS, (size, LONGEST), generator=generator)
        tokens[:, :3] = y[:, None] + 1
        lengths = torch.randint(6, LONGEST + 1, (size,), generator=generator)
        for row, length in enumerate(lengths.tolist()):
            tokens[row, :length] = tokens[row, torch.randperm(length, generator=generator)]
            tokens[row, length:] = PADDING
        lies = torch.rand(size, generator=generator) < 0.1
        drawn.append((tokens, torch.where(lies, torch.randint(CLASSES, (size,), generator=generator), y)))
    return drawn


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    tokens, y = batch
    return functional.cross_entropy(model(tokens), y)


def make(seed: int, steps: int = STEPS) -> Run:
    torch.manual_seed(seed)
    model = Encoder()
    return Run(model, torch.optim.AdamW(model.parameters(), lr=2e-3), loss, batches(seed, steps=steps))
