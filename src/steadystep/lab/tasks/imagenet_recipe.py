"""The recipe for ImageNet and its smaller variants."""

from functools import partial

import numpy as np
from torch.nn import functional

from steadystep.lab.tasks.recipe import Recipe, topk_correct

RECIPE = Recipe(
    loss=partial(functional.cross_entropy, label_smoothing=0.1),
    also={"top-5": partial(topk_correct, k=5)},
    channels_last=True,
    evaluation_batch=250,
)
"""There is no `augment`: the splits take random crops themselves, before images are resized and batched."""

NESTEROV = {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}


def held_out_mask(labels: np.ndarray, every: int) -> np.ndarray:
    """Return a mask of the examples held out for validation: one in `every` examples of each class, always the same.

    >>> held_out_mask(np.array([1, 0, 0, 1, 0, 0]), every=2)
    array([ True,  True, False, False,  True, False])
    """
    mask = np.zeros(len(labels), bool)
    mask[np.argsort(labels, kind="stable")[::every]] = True
    return mask
