"""cifar10-resnet: CIFAR-10 and the residual network that was published for it."""

from functools import partial
from typing import Literal, cast, get_args

import torch

from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.augment import alternating_flip, shifted
from steadystep.lab.tasks.cifar10_cnn import load
from steadystep.lab.tasks.imagenet_recipe import NESTEROV
from steadystep.lab.tasks.networks.resnet import ResNet, resnet, resnet_cifar
from steadystep.lab.tasks.options import numbers
from steadystep.lab.tasks.recipe import Moment, Recipe
from steadystep.lab.tasks.task import Arrays, Split, Task

Depth = Literal[18, 20]


def augment(x: torch.Tensor, chosen: torch.Tensor, now: Moment) -> torch.Tensor:
    """Mirrored in every second epoch, and moved by up to four pixels."""
    return shifted(alternating_flip(x.float(), chosen, now.epoch), most=4)


def standardise_as_data(model: torch.nn.Module, train: Split) -> None:
    """Mean and deviation of the training pixels."""
    assert isinstance(model, ResNet) and isinstance(train, Arrays)
    model.pixels.fit(train.x)


def make_task(name: str, depth: Depth) -> Task:
    """The comparison with ResNet-20, of 0.27 million parameters, or with ResNet-18 for 32x32 images, of 11 million."""
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
            Arm(name="Adam + clip", optimizer="Adam", lrs=(2e-3, 4e-3), clip="norm", quantiles=(0.1, 0.5)),
        ),
        batch_size=128,
        budgets=(20,),
        tune_epochs=4,
        seeds=5,
        tune_seeds=1,
        margin=0.005,
        target_accuracy=0.85,
        target_loss=0.4,
        schedule="triangle",
        recipe=Recipe(augment=augment, initialise=standardise_as_data, channels_last=True),
    )


def find(name: str) -> Task:
    """The task of a name that gives the depth: cifar10-resnet:18 or cifar10-resnet:20."""
    [depth] = numbers(name, "cifar10-resnet:18", count=1, among=get_args(Depth))
    return make_task(name, cast(Depth, depth))


TASK = make_task("cifar10-resnet", depth=20)
