"""imagenet-resnet: a residual network on ImageNet, rows 7 to 9 of the paper's Table 1."""

import math
from functools import partial
from pathlib import Path
from typing import cast, get_args

import numpy as np

from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.image_source import EncodedSplits, labels_of, open_images
from steadystep.lab.tasks.imagenet_recipe import NESTEROV, RECIPE, held_out_mask
from steadystep.lab.tasks.networks.resnet import Depth, resnet
from steadystep.lab.tasks.options import parse_numbers
from steadystep.lab.tasks.pipeline import EncodedImages
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.tasks.streamed_images import StreamedImages
from steadystep.lab.tasks.task import Claim, Task

DATASET = "ILSVRC/imagenet-1k"
CLASSES = 1000
VALIDATION_EVERY = 100
"""One in 100 training images of every class is held out; the published validation set serves as the test set."""


def load(data: Path | None, size: int = 224, workers: int | None = None) -> Splits[EncodedImages | StreamedImages]:
    """Return 99% of the training images, the other 1% for validation, and the published validation set as the test set.

    Args:
        data: The folder of the images, see `open_images`. None: images are streamed from the hub, and the first
            hundredth is held out.
        size: The height and width of the network's input.
        workers: The number of worker processes that decode images, unless they are streamed. Default: the number of
            idle cores.
    """
    opened = open_images(DATASET, data, CLASSES)
    if opened.streamed:
        return _streamed(opened, size)
    train = opened.rows["train"]
    held_out = held_out_mask(labels_of(train), VALIDATION_EVERY)
    return Splits(
        EncodedImages(train.select(np.flatnonzero(~held_out)), name="train", size=size, random=True, workers=workers),
        EncodedImages(
            train.select(np.flatnonzero(held_out)), name="held-out train", size=size, random=False, workers=workers
        ),
        EncodedImages(opened.rows["validation"], name="validation", size=size, random=False, workers=workers),
        opened.fingerprint,
    )


def _streamed(opened: EncodedSplits, size: int) -> Splits[EncodedImages | StreamedImages]:
    train, examples = opened.rows["train"], opened.examples
    held_out = math.ceil(examples["train"] / VALIDATION_EVERY)
    left = examples["train"] - held_out
    return Splits(
        StreamedImages(train.skip(held_out), left, name="train", size=size, random=True),
        StreamedImages(train.take(held_out), held_out, name="held-out train", size=size, random=False),
        StreamedImages(opened.rows["validation"], examples["validation"], name="validation", size=size, random=False),
        opened.fingerprint,
    )


def make_task(name: str, depth: Depth, size: int = 224) -> Task:
    """Return the task with a ResNet of the given depth, on images of `size` x `size` pixels."""
    return Task(
        name=name,
        title=f"ImageNet {size}x{size}, ResNet-{depth}",
        dataset=DATASET,
        classes=CLASSES,
        load=partial(load, size=size),
        model=partial(resnet, depth),
        arms=(
            Arm(name="SGD", optimizer="SGD", options=NESTEROV, lrs=(0.05, 0.1, 0.2, 0.4)),
            Arm(name="Adam", optimizer="Adam", lrs=(5e-4, 1e-3, 2e-3, 4e-3)),
            Arm(name="Adam + norm", optimizer="Adam", lrs=(1e-3, 2e-3), clip="norm", quantiles=(0.1, 0.5)),
        ),
        batch_size=256,
        budgets=(100,),
        sweep_epochs=5,
        seeds=3,
        tune_seeds=1,
        margin=0.005,
        target_accuracy=0.7,
        target_loss=2.5,
        schedule="triangle",
        recipe=RECIPE,
        claims={"SGD": Claim(0.865, 150), "Adam": Claim(0.872, 120), "Adam + norm": Claim(0.885, 100)},
    )


def find(name: str) -> Task:
    """Return the task of a name that ends with the depth: imagenet-resnet:18, :34 or :50."""
    [depth] = parse_numbers(name, "imagenet-resnet:18", count=1, choices=get_args(Depth))
    return make_task(name, cast(Depth, depth))


TASK = make_task("imagenet-resnet", depth=50)
