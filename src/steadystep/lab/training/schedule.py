"""Learning-rate schedules over all steps of a trial."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR

from steadystep.lab.choices import Schedule


def lr_multiplier(schedule: Schedule, steps: int) -> Callable[[int], float]:
    """Return the function that maps a step, counted from 0, to the factor of the learning rate.

    Cosine: (1 + cos(π s / S)) / 2, from 1 at the first step to 0 after the last of S steps.
    Triangle: 0.2 at the first step, 1 after 23% of all steps, 0.07 at the end, linear in between.
    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017, eq. 5; the triangle:
    Jordan, arXiv 2404.00498 (2024).

    >>> factor = lr_multiplier("cosine", steps=100)
    >>> [round(factor(step), 3) for step in (0, 25, 50, 100)]
    [1.0, 0.854, 0.5, 0.0]
    """
    if schedule == "constant":
        return lambda step: 1.0
    if schedule == "triangle":
        return lambda step: float(np.interp(step / steps, (0, 0.23, 1), (0.2, 1, 0.07)))
    return lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))


def make_scheduler(optimizer: torch.optim.Optimizer, schedule: Schedule, steps: int) -> LambdaLR:
    """Return the scheduler of a trial; call its `step` after every step of the optimizer."""
    return LambdaLR(optimizer, lr_multiplier(schedule, steps))
