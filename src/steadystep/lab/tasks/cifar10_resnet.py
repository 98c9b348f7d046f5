"""cifar10-resnet: the residual network that was published for CIFAR-10."""

from functools import partial
from typing import Literal, cast, get_args

import torch

from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.augment import alternating_flip, random_shift
from steadystep.lab.tasks.cifar10_cnn import load
from steadystep.lab.tasks.imagenet_recipe import NESTEROV
from steadystep.lab.tasks.networks.resnet import ResNet, resnet, resnet_cifar
from steadystep.lab.tasks.options import parse_numbers
from steadystep.lab.tasks.recipe import Moment, Recipe
from steadystep.lab.tasks.splits import Arrays, Split
from steadystep.lab.tasks.task import Task

Depth = Literal[18, 20]


def augment(x: torch.Tensor, indices: torch.Tensor, now: Moment) -> torch.Tensor:
    """Flip every image in every second epoch, and shift it by up to four pixels."""
    return random_shift(alternating_flip(x.float(), indices, now.epoch), max_shift=4)


def fit_standardisation(model: torch.nn.Module, train: Split) -> None:
    """Set the mean and standard deviation of the input layer from the training images."""
    assert isinstance(model, ResNet) and isinstance(train, Arrays)
    model.pixels.fit(train.x)


def make_task(name: str, depth: Depth) -> Task:
    """Return the task with a ResNet of the given depth.

    ResNet-20 has 0.27 million parameters; ResNet-18, adapted to 32x32 images, has 11 million.
    """
    return Task(
        name=name,
        title=f"CIFAR-10, ResNet-{depth}",
        dataset="uoft-cs/cifar10",
        classes=10,
        load=load,
        model=resnet_cifar if depth == 20 else partial(resnet, depth, classes=10, stem="small"),
        arms=(
            Arm(name="SGD", optimizer="SGD", options=NESTEROV, lrs=(0.025, 0.05, 0.1, 0.2)),
            Arm(name="Adam", optimizer="Adam", lrs=(1e-3, 2e-3, 4e-3, 8e-3)),
            Arm(name="Adam + norm", optimizer="Adam", lrs=(2e-3, 4e-3), clip="norm", quantiles=(0.1, 0.5)),
        ),
        batch_size=128,
        budgets=(20,),
        sweep_epochs=4,
        seeds=5,
        tune_seeds=1,
        margin=0.005,
        target_accuracy=0.85,
        target_loss=0.4,
        schedule="triangle",
        recipe=Recipe(augment=augment, initialise=fit_standardisation, channels_last=True),
    )


def find(name: str) -> Task:
    """Return the task of a name that ends with the depth: cifar10-resnet:18 or cifar10-resnet:20."""
    [depth] = parse_numbers(name, "cifar10-resnet:18", count=1, choices=get_args(Depth))
    return make_task(name, cast(Depth, depth))


TASK = make_task("cifar10-resnet", depth=20)
