"""The 1,797 handwritten digits of scikit-learn, in shuffled batches."""

from functools import cache

import torch
from sklearn.datasets import load_digits

from benchmarks.doctor.run import STEPS


@cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images (N, 64), with values from 0 to 1, and the labels."""
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)


def digit_batches(seed: int, size: int = 32, steps: int = STEPS) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Draw batches without replacement, epoch after epoch."""
    x, y = digits()
    generator = torch.Generator().manual_seed(seed)
    epochs = -(-steps // (len(x) // size))
    orders = [torch.randperm(len(x), generator=generator)[: len(x) // size * size] for _ in range(epochs)]
    chosen = torch.cat(orders).view(-1, size)[:steps]
    return [(x[rows].clone(), y[rows].clone()) for rows in chosen]
