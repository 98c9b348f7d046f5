"""A step of clipped SGD is at most the learning rate times the clipping threshold."""

import math

import numpy as np
import torch

from steadystep.lab.theory.claim import Claim, Evidence, Finding, Progress
from steadystep.optimizers import SGD, Adam, Optimizer

SAMPLES = 600


def _moves(make: type[Optimizer], lr: float, limit: float, gradients: list[list[np.ndarray]], **options: float) -> list:
    """Return, for each step, the norm of the change over all parameters together."""
    weights = [torch.zeros(len(part), dtype=torch.float64, requires_grad=True) for part in gradients[0]]
    optimizer, moved = make(weights, lr=lr, clip=limit, **options), []  # type: ignore[arg-type]
    for parts in gradients:
        before = torch.cat([weight.detach().clone() for weight in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.grad = torch.from_numpy(part)
        optimizer.step()
        moved.append(float(torch.linalg.vector_norm(torch.cat([weight.detach() for weight in weights]) - before)))
    return moved


def check(progress: Progress) -> Evidence:
    """Measure the steps of clipped SGD, with and without momentum, and of clipped Adam on random gradients."""
    rng = np.random.default_rng(0)

    def gradients(steps: int) -> list[list[np.ndarray]]:
        sizes = rng.integers(1, 20, rng.integers(1, 4))
        return [[rng.normal(size=n) * 10 ** rng.uniform(-6, 150) for n in sizes] for _ in range(steps)]

    plain, momentum, adam, clipped = 0.0, 0.0, 0.0, 0
    for k in range(SAMPLES):
        lr, limit, mu = 10 ** rng.uniform(-4, 1), 10 ** rng.uniform(-6, 3), rng.uniform(0.5, 0.95)
        one = gradients(1)
        plain = max(plain, max(_moves(SGD, lr, limit, one)) / (lr * limit))
        clipped += math.hypot(*map(np.linalg.norm, one[0])) > limit
        if k % 10 == 0:
            aligned = [[np.ones(5)]] * 100
            momentum = max(momentum, max(_moves(SGD, lr, limit, aligned, momentum=mu)) * (1 - mu) / (lr * limit))
            adam = max(adam, max(_moves(Adam, lr, limit, one)) / (lr * limit))
        progress(k / SAMPLES)
    infinite = max(_moves(SGD, 1.0, 1.0, [[np.array([math.inf, 1.0])]]))
    return Evidence(
        (
            Finding(
                f"None of {SAMPLES} steps ({clipped} of them clipped), with gradients up to 1e150, is longer than α·c "
                f"(longest: {plain:.12f} of it)",
                0.999 < plain <= 1 + 1e-12,
            ),
            Finding(
                f"A gradient with an infinite entry changes nothing: the step is skipped (moved {infinite:g})",
                infinite == 0.0,
            ),
            Finding(
                f"With heavy-ball momentum the bound is α·c/(1-μ) (longest: {momentum:.3f} of it)",
                0.9 < momentum <= 1 + 1e-12,
            ),
            Finding(
                f"Adam has no such bound: its steps were up to {adam:.1e} times α·c",
                adam > 1.0,
            ),
        )
    )


CLAIM = Claim(
    id="bounded-step",
    title="Clipped SGD takes bounded steps",
    statement=r"SGD with learning rate $\alpha$, clipped by global norm at c, moves all parameters together by at most "
    r"$\alpha c$ per step; with heavy-ball momentum $\mu$ by at most $\alpha c / (1 - \mu)$.",
    source="Follows from Pascanu, Mikolov & Bengio (2013), Algorithm 1",
    assumptions=("no weight decay",),
    check=check,
)
