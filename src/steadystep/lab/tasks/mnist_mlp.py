"""mnist-mlp: a large MLP on MNIST, rows 1 to 3 of the paper's Table 1."""

from pathlib import Path

import numpy as np
import torch

from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.data import Images, fingerprint_arrays, load_images
from steadystep.lab.tasks.networks.mlp import make_mlp
from steadystep.lab.tasks.splits import Arrays, Splits
from steadystep.lab.tasks.task import Claim, Task

VALIDATION = 5_000


def load_parts(data: Path | None, hub_name: str = "ylecun/mnist") -> tuple[Images, Images, Images]:
    """Return the first 55,000 training images, the other 5,000 for validation, and the 10,000 test images."""
    images = load_images(hub_name, data)
    pixels, labels = images["train"]
    return (
        Images(pixels[:-VALIDATION], labels[:-VALIDATION]),
        Images(pixels[-VALIDATION:], labels[-VALIDATION:]),
        images["test"],
    )


def load(data: Path | None, hub_name: str = "ylecun/mnist") -> Splits[Arrays]:
    """Return the images as standardised vectors: (examples, 784), float32."""
    parts = load_parts(data, hub_name)
    # Computed from a histogram: exact, and without a float copy of the images.
    counts, values = np.bincount(parts[0].pixels.ravel(), minlength=256), np.arange(256)
    mean = np.average(values, weights=counts)
    std = np.average((values - mean) ** 2, weights=counts) ** 0.5
    # Pixels have only 256 values, so standardising is a table look-up.
    standardised = ((values - mean) / std).astype(np.float32)
    train, val, test = (
        Arrays(torch.from_numpy(standardised[x.reshape(len(x), -1)]), torch.from_numpy(y)) for x, y in parts
    )
    return Splits(train, val, test, fingerprint_arrays(*(array for part in parts for array in part)))


def model() -> torch.nn.Module:
    """Return a new MLP with two hidden layers of 512 units and dropout 0.2."""
    return make_mlp((784, 512, 512, 10), dropout=0.2)


ARMS = (
    Arm(name="SGD", optimizer="SGD", lrs=(0.05, 0.1, 0.2, 0.4, 0.8, 1.6)),
    Arm(name="Adam", optimizer="Adam", lrs=(2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3)),
    Arm(name="Adam + norm", optimizer="Adam", lrs=(5e-4, 1e-3, 2e-3), clip="norm", quantiles=(0.1, 0.9)),
)

TASK = Task(
    name="mnist-mlp",
    title="MNIST, MLP 784-512-512-10 with dropout 0.2",
    dataset="ylecun/mnist",
    classes=10,
    load=load,
    model=model,
    arms=ARMS,
    batch_size=128,
    budgets=(1, 2, 5, 15),
    seeds=5,
    looks=(10, 20),
    tune_seeds=1,
    margin=0.001,
    target_accuracy=0.98,
    target_loss=0.02,
    claims={
        "SGD": Claim(0.985, 15),
        "Adam": Claim(0.992, 12),
        "Adam + norm": Claim(0.995, 10),
    },
)
