"""A seeded problem for comparing trajectories: the scale of the gradients varies by 1000x, and some are missing."""

import math
import random

from reference.optimizers.trajectory import Gradients, Params

SIZES = (5, 3, 1)
STEPS = 60


def make_problem(
    seed: int = 0,
    *,
    sizes: tuple[int, ...] = SIZES,
    steps: int = STEPS,
    low: float = 1e-3,
    high: float = 1.0,
    missing: bool = True,
) -> tuple[Params, Gradients]:
    """Return parameters of about 1, and gradients of a scale that is log-uniform in [low, high] per step and tensor.

    With `missing`, about one tensor in ten has no gradient (None) in a step, the first step included.
    """
    rng = random.Random(seed)
    params = [[rng.choice((-1, 1)) * rng.uniform(0.2, 2.0) for _ in range(size)] for size in sizes]
    grads: Gradients = []
    for _ in range(steps):
        step: list[list[float] | None] = []
        for size in sizes:
            scale = 10.0 ** rng.uniform(math.log10(low), math.log10(high))
            values = [scale * rng.gauss(0.2, 1.0) for _ in range(size)]
            step.append(None if missing and rng.random() < 0.1 else values)
        grads.append(step)
    return params, grads


def warm_restarts(lr: float, steps: int = STEPS, cycle: int = 20) -> list[float]:
    """Return a schedule for `lrs`: cosine annealing from lr to 0.1*lr with a restart every `cycle` steps."""
    return [lr * (0.55 + 0.45 * math.cos(math.pi * (k % cycle) / cycle)) for k in range(steps)]
