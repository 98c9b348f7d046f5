"""tiny-imagenet-resnet: a narrow ResNet-18 on 200 classes of 64x64 images, rows 7 to 9 of Table 1 at a small scale."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.cropped_arrays import CroppedArrays
from steadystep.lab.tasks.data import fingerprint_arrays, load_images
from steadystep.lab.tasks.imagenet_recipe import NESTEROV, RECIPE, held_out_mask
from steadystep.lab.tasks.networks.resnet import resnet
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.tasks.task import Task

DATASET = "zh-plus/tiny-imagenet"
SIZE = 64
VALIDATION_EVERY = 8
"""One in 8 training images of every class is held out for validation."""


def load(data: Path | None, size: int = SIZE) -> Splits[CroppedArrays]:
    """Return 7/8 of the training images, the others for validation, and the published validation set as the test set.

    `size` is the height and width of the network's input. The images are decoded once and cached as arrays.
    """
    images = load_images(DATASET, data, splits=("train", "validation"), mode="RGB")
    (pixels, labels), (test_pixels, test_labels) = images["train"], images["validation"]
    held_out = held_out_mask(labels, VALIDATION_EVERY)

    def split(pixels: np.ndarray, labels: np.ndarray, random: bool) -> CroppedArrays:
        return CroppedArrays(torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(labels), size, random)

    return Splits(
        split(pixels[~held_out], labels[~held_out], random=True),
        split(pixels[held_out], labels[held_out], random=False),
        split(test_pixels, test_labels, random=False),
        fingerprint_arrays(pixels, labels, test_pixels, test_labels),
    )


TASK = Task(
    name="tiny-imagenet-resnet",
    title="Tiny-ImageNet 64x64, ResNet-18 of half width",
    dataset=DATASET,
    classes=200,
    load=load,
    model=partial(resnet, 18, classes=200, width=32),
    arms=(
        Arm(name="SGD", optimizer="SGD", options=NESTEROV, lrs=(0.025, 0.05, 0.1, 0.2)),
        Arm(name="Adam", optimizer="Adam", lrs=(5e-4, 1e-3, 2e-3, 4e-3)),
        Arm(name="Adam + norm", optimizer="Adam", lrs=(1e-3, 2e-3), clip="norm", quantiles=(0.1, 0.5)),
    ),
    batch_size=128,
    budgets=(6,),
    sweep_epochs=2,
    seeds=3,
    tune_seeds=1,
    margin=0.01,
    target_accuracy=0.05,
    target_loss=4.75,
    schedule="triangle",
    recipe=RECIPE,
)
