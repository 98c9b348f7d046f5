"""Adan (Xie et al. 2022)."""

import math
from collections.abc import Sequence

from reference.optimizers.registry import choose, reference
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory


@reference(
    "Adan",
    variants=("author",),
    options=[
        {},
        {"weight_decay": 0.1},
        {"lr": 0.01, "betas": (0.9, 0.5, 0.8), "eps": 1e-3, "weight_decay": 0.1, "no_prox": True},
    ],
)
def adan(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    no_prox: bool = False,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of Adan.

    `author`: d = g - (the last g; g itself in the first step); m, v and n average g, d and (g + b2*d)^2 with b1, b2 and
    b3; p -= a*(m/bc1 + b2*v/bc2)/(sqrt(n/bc3) + eps). Decay: p /= 1 + a*wd after that, or with `no_prox` p *= 1 - a*wd
    before it.
    """
    choose("Adan", variant)
    b1, b2, b3 = betas

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        m, v, n, last = (slot(state, name, p) for name in ("m", "v", "n", "last"))
        new = []
        for i in range(len(p)):
            difference = 0.0 if t == 1 else grad[i] - last[i]
            m[i] = b1 * m[i] + (1 - b1) * grad[i]
            v[i] = b2 * v[i] + (1 - b2) * difference
            n[i] = b3 * n[i] + (1 - b3) * (grad[i] + b2 * difference) ** 2
            direction = m[i] / (1 - b1**t) + b2 * v[i] / (1 - b2**t)
            step = a * direction / (math.sqrt(n[i] / (1 - b3**t)) + eps)
            new.append(p[i] * (1 - a * weight_decay) - step if no_prox else (p[i] - step) / (1 + a * weight_decay))
            last[i] = grad[i]
        return new

    return trajectory(params, grads, update, lr, lrs)
