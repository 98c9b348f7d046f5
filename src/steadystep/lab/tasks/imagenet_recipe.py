"""How networks are trained on ImageNet and its smaller relatives, and what is asked of them."""

from functools import partial

import numpy as np
from torch.nn import functional

from steadystep.lab.tasks.recipe import Recipe, among_first

RECIPE = Recipe(
    loss=partial(functional.cross_entropy, label_smoothing=0.1),
    also={"top-5": partial(among_first, k=5)},
    channels_last=True,
    evaluation_batch=250,
)
"""The random crops are the splits': a crop is taken before the image is resized, so no batch holds the whole ones."""

NESTEROV = {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}


def held_out(labels: np.ndarray, every: int) -> np.ndarray:
    """One in so many examples of every class, for validation: a mask, the same for ever.

    >>> held_out(np.array([1, 0, 0, 1, 0, 0]), every=2)
    array([ True,  True, False, False,  True, False])
    """
    mask = np.zeros(len(labels), bool)
    mask[np.argsort(labels, kind="stable")[::every]] = True
    return mask
