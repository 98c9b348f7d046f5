"""Loss and accuracy of a model on a split."""

import torch
from torch.nn import functional

from steadystep.lab.tasks.task import Split

BATCH = 1024
"""Examples at once: large enough to be fast, small enough for a cache."""


@torch.no_grad()
def evaluate(model: torch.nn.Module, split: Split) -> tuple[float, float]:
    """Mean cross-entropy and accuracy (a fraction of 1) over all examples, in evaluation mode."""
    was_training = model.training
    model.eval()
    loss, correct = 0.0, 0
    for x, y in zip(split.x.split(BATCH), split.y.split(BATCH), strict=True):
        outputs = model(x)
        loss += functional.cross_entropy(outputs, y, reduction="sum").item()
        correct += int((outputs.argmax(1) == y).sum())
    model.train(was_training)
    return loss / len(split.y), correct / len(split.y)
