"""A GRU that classifies sequences of different lengths by the mean of its states; Adam."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.doctor.run import STEPS, Run

CLASSES = 4
LONGEST = 12
FEATURES = 6


class MeanOfStates(nn.Module):
    def __init__(self, width: int = 20) -> None:
        super().__init__()
        self.embed = nn.Linear(FEATURES, width)
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        states, _ = self.rnn(self.embed(x))
        inside = (torch.arange(x.shape[1]) < lengths[:, None]).unsqueeze(-1)
        return self.head((states * inside).sum(1) / lengths[:, None])


def batches(seed: int, size: int = 16, steps: int = STEPS) -> list[dict[str, torch.Tensor]]:
    """Draw sequences whose class is the feature that is largest on average."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(steps):
        y = torch.randint(CLASSES, (size,), generator=generator)
        lengths = torch.randint(3, LONGEST + 1, (size,), generator=generator)
        x = torch.randn(size, LONGEST, FEATURES, generator=generator) * 0.7
        x = x + functional.one_hot(y, FEATURES).unsqueeze(1)
        x = x * (torch.arange(LONGEST) < lengths[:, None]).unsqueeze(-1)
        drawn.append({"x": x, "lengths": lengths, "y": y})
    return drawn


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return functional.cross_entropy(model(batch["x"], batch["lengths"]), batch["y"])


def make(seed: int, steps: int = STEPS) -> Run:
    torch.manual_seed(seed)
    model = MeanOfStates()
    return Run(model, torch.optim.Adam(model.parameters(), lr=3e-3), loss, batches(seed, steps=steps))
