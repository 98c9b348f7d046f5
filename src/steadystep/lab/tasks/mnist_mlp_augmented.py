"""mnist-mlp-augmented: an MLP with augmentation, to test whether the paper's 99.5% in 10 epochs can be reached."""

from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.data import fingerprint_arrays
from steadystep.lab.tasks.deform import random_deformation
from steadystep.lab.tasks.mnist_mlp import load_parts
from steadystep.lab.tasks.networks.deskew import Deskew
from steadystep.lab.tasks.networks.mlp import make_mlp
from steadystep.lab.tasks.networks.standardise import Standardise
from steadystep.lab.tasks.recipe import Moment, Recipe
from steadystep.lab.tasks.splits import Arrays, Split, Splits
from steadystep.lab.tasks.task import Claim, Task

WIDTHS = (784, 2048, 2048, 2048, 10)


def load(data: Path | None) -> Splits[Arrays]:
    """Return the images of mnist-mlp as bytes: (examples, 1, 28, 28)."""
    parts = load_parts(data)
    train, val, test = (Arrays(torch.from_numpy(x).unsqueeze(1), torch.from_numpy(y)) for x, y in parts)
    return Splits(train, val, test, fingerprint_arrays(*(array for part in parts for array in part)))


def model() -> nn.Module:
    """Return a new network: deskewing, standardisation and an MLP with batch norm."""
    layers = make_mlp(WIDTHS, batch_norm=True, activation=nn.GELU)
    return nn.Sequential(Deskew(), Standardise((127.5,), (64.0,)), nn.Flatten(), *layers)


def augment(x: torch.Tensor, indices: torch.Tensor, now: Moment) -> torch.Tensor:
    """Deform the images with a strength that falls linearly from full at the start of training to zero at the end."""
    return random_deformation(x.float(), 1 - now.progress)


def fit_standardisation(model: nn.Module, train: Split) -> None:
    """Set the mean and standard deviation of the input layer from the training images."""
    assert isinstance(model, nn.Sequential) and isinstance(train, Arrays)
    pixels = model[1]
    assert isinstance(pixels, Standardise)
    pixels.fit(train.x)


TASK = Task(
    name="mnist-mlp-augmented",
    title="MNIST deskewed, with affine and elastic deformation; MLP 784-3x2048-10 with batch norm",
    version=3,
    dataset="ylecun/mnist",
    classes=10,
    load=load,
    model=model,
    arms=(
        Arm(name="SGD", optimizer="SGD", options={"momentum": 0.9, "nesterov": True}, lrs=(0.05, 0.1, 0.2, 0.4)),
        Arm(name="Adam", optimizer="Adam", lrs=(1e-4, 2e-4, 4e-4, 8e-4)),
        Arm(name="Adam + norm", optimizer="Adam", lrs=(2e-4, 4e-4), clip="norm", quantiles=(0.1, 0.9)),
    ),
    batch_size=250,
    budgets=(10,),
    sweep_epochs=2,
    seeds=5,
    tune_seeds=1,
    margin=0.001,
    target_accuracy=0.995,
    target_loss=0.3,
    recipe=Recipe(
        loss=partial(functional.cross_entropy, label_smoothing=0.05),
        augment=augment,
        initialise=fit_standardisation,
        average_every=10_000,
    ),
    unlike_paper="the paper describes a simple multi-layer perceptron, and this network deskews its input, has batch "
    "norm and is trained on deformed images",
    claims={"SGD": Claim(0.985, 15), "Adam": Claim(0.992, 12), "Adam + norm": Claim(0.995, 10)},
)
