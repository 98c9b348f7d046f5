"""An LSTM that transcribes noisy frames into symbols with the CTC loss; Adam."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.doctor.run import STEPS, Run

SYMBOLS = 4
FRAMES = 16
FEATURES = 6
LONGEST = 4


class Transcriber(nn.Module):
    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.encoder = nn.LSTM(FEATURES, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, SYMBOLS + 1)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(frames)[0])


def batches(seed: int, size: int = 8, steps: int = STEPS) -> list[dict[str, torch.Tensor]]:
    """Draw frames of symbols, each of which takes three or four frames; symbol 0 is the blank."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(steps):
        frames = 0.3 * torch.randn(size, FRAMES, FEATURES, generator=generator)
        targets = torch.randint(1, SYMBOLS + 1, (size, LONGEST), generator=generator)
        target_lengths = torch.randint(2, LONGEST + 1, (size,), generator=generator)
        for row, length in enumerate(target_lengths.tolist()):
            targets[row, length:] = 0
            for place in range(length):
                frames[row, 4 * place : 4 * place + 3, targets[row, place]] += 1.0
        lengths = 4 * target_lengths
        drawn.append({"frames": frames, "lengths": lengths, "targets": targets, "target_lengths": target_lengths})
    return drawn


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    log_probabilities = model(batch["frames"]).log_softmax(-1).transpose(0, 1)
    return functional.ctc_loss(log_probabilities, batch["targets"], batch["lengths"], batch["target_lengths"])


def make(seed: int, steps: int = STEPS) -> Run:
    torch.manual_seed(seed)
    model = Transcriber()
    return Run(model, torch.optim.Adam(model.parameters(), lr=5e-3), loss, batches(seed, steps=steps))
