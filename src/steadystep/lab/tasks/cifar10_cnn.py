"""cifar10-cnn: a small fast CNN on CIFAR-10, rows 4 to 6 of the paper's Table 1."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional

from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.augment import alternating_flip, flips_and_shifts, random_shift
from steadystep.lab.tasks.data import fingerprint_arrays, load_images
from steadystep.lab.tasks.fields import Option
from steadystep.lab.tasks.networks.fast_cnn import FastCNN
from steadystep.lab.tasks.options import parse_numbers
from steadystep.lab.tasks.recipe import Moment, Recipe
from steadystep.lab.tasks.splits import Arrays, Split, Splits
from steadystep.lab.tasks.task import Claim, Task

VALIDATION = 2_000


def load(data: Path | None) -> Splits[Arrays]:
    """Return the first 48,000 training images, the other 2,000 for validation, and the 10,000 test images."""
    images = load_images("uoft-cs/cifar10", data, image="img", label="label")
    (pixels, labels), (test_pixels, test_labels) = images["train"], images["test"]
    parts = (
        (pixels[:-VALIDATION], labels[:-VALIDATION]),
        (pixels[-VALIDATION:], labels[-VALIDATION:]),
        (test_pixels, test_labels),
    )
    train, val, test = (
        Arrays(torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(y)) for x, y in parts
    )
    return Splits(train, val, test, fingerprint_arrays(*(array for part in parts for array in part)))


def augment(x: torch.Tensor, indices: torch.Tensor, now: Moment) -> torch.Tensor:
    """Flip every image in every second epoch, and shift it by up to two pixels."""
    return random_shift(alternating_flip(x.float(), indices, now.epoch), max_shift=2)


def fit_input_layers(model: torch.nn.Module, train: Split) -> None:
    """Compute the standardisation and the whitening filters from the training images."""
    assert isinstance(model, FastCNN) and isinstance(train, Arrays)
    model.fit_input(train.x)


RECIPE = Recipe(
    loss=partial(functional.cross_entropy, label_smoothing=0.2),
    augment=augment,
    predict=flips_and_shifts,
    initialise=fit_input_layers,
    average_every=5_000,
    channels_last=True,
)

NESTEROV = {"momentum": 0.85, "nesterov": True, "weight_decay": 6.5e-4}
"""SGD decays weights by lr times weight_decay; the largest learning rate gives the decay of the original recipe.

Tuning over two epochs would prefer twice that learning rate, but over ten epochs it gives a lower validation accuracy.
"""
DECAY: dict[str, Option] = {"weight_decay": 5e-4}
"""Without decay, weights before a batch norm grow with every step and the effective steps shrink; Adam would stall."""


def make_task(name: str, widths: Sequence[int]) -> Task:
    """Return the task with a FastCNN whose three blocks have the given widths."""
    return Task(
        name=name,
        title=f"CIFAR-10, CNN of widths {'/'.join(map(str, widths))}",
        version=2,
        dataset="uoft-cs/cifar10",
        classes=10,
        load=load,
        model=partial(FastCNN, tuple(widths)),
        arms=(
            Arm(name="SGD", optimizer="SGD", options=NESTEROV, lrs=(0.2, 0.4, 0.6, 0.8)),
            Arm(name="Adam", optimizer="Adam", options=DECAY, lrs=(1.5e-3, 3e-3, 6e-3, 1.2e-2)),
            Arm(
                name="Adam + norm",
                optimizer="Adam",
                options=DECAY,
                lrs=(1.5e-3, 3e-3),
                clip="norm",
                quantiles=(0.1, 0.5),
            ),
        ),
        batch_size=250,
        budgets=(10,),
        sweep_epochs=2,
        seeds=5,
        tune_seeds=1,
        margin=0.002,
        target_accuracy=0.92,
        target_loss=1.0,
        schedule="triangle",
        recipe=RECIPE,
        claims={"SGD": Claim(0.895, 75), "Adam": Claim(0.912, 60), "Adam + norm": Claim(0.925, 50)},
    )


def find(name: str) -> Task:
    """Return the task of a name that ends with the widths of the three blocks.

    >>> find("cifar10-cnn:64:256:256").title
    'CIFAR-10, CNN of widths 64/256/256'
    """
    return make_task(name, parse_numbers(name, "cifar10-cnn:64:256:256", count=3))


TASK = make_task("cifar10-cnn", (64, 160, 160))
