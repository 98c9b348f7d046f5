"""AMSGrad (Reddi, Kale, Kumar 2018), in the three forms in use."""

import math
from collections.abc import Sequence

from reference.optimizers.registry import choose, reference
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory


@reference(
    "AMSGrad",
    variants=("torch", "paper", "corrected"),
    options=[
        {},
        {"weight_decay": 0.1},
        {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1},
    ],
)
def amsgrad(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of AMSGrad.

    g <- g + wd*p; m and v as in Adam; then, by variant:

    `torch`: x = max(x, v); p -= a * (m/bc1) / (sqrt(x/bc2) + eps).
    `paper` (Reddi et al. 2018, Algorithm 2): x = max(x, v); p -= a * m / (sqrt(x) + eps), without bias
    correction (the paper has no eps; it is added here).
    `corrected` (optax): x = max(x, v/bc2); p -= a * (m/bc1) / (sqrt(x) + eps).
    """
    variant = choose("AMSGrad", variant)
    b1, b2 = betas

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        m, v, x = slot(state, "m", p), slot(state, "v", p), slot(state, "x", p)
        bc1, bc2 = 1 - b1**t, 1 - b2**t
        new = []
        for i in range(len(p)):
            g = grad[i] + weight_decay * p[i]
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            x[i] = max(x[i], v[i] / bc2 if variant == "corrected" else v[i])
            if variant == "torch":
                step = (m[i] / bc1) / (math.sqrt(x[i] / bc2) + eps)
            elif variant == "paper":
                step = m[i] / (math.sqrt(x[i]) + eps)
            else:
                step = (m[i] / bc1) / (math.sqrt(x[i]) + eps)
            new.append(p[i] - a * step)
        return new

    return trajectory(params, grads, update, lr, lrs)
