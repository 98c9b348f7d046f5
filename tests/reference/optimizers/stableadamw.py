"""StableAdamW (Wortsman et al. 2023): AdamW with Adafactor's update clipping."""

import math
from collections.abc import Sequence

from reference.optimizers.registry import choose, reference
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory


@reference(
    "StableAdamW",
    variants=("paper",),
    options=[
        {},
        {"weight_decay": 0.0},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.1},
    ],
)
def stableadamw(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.99),
    eps: float = 1e-6,
    weight_decay: float = 1e-2,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of StableAdamW.

    `paper` (Wortsman et al. 2023, Algorithm 2), per tensor, with vh = v/bc2 of this step:
    RMS = sqrt(mean(g^2/max(vh, eps^2))); a' = a/max(1, RMS); p *= 1 - a'*wd;
    p -= a' * (m/bc1)/(sqrt(vh) + eps). The paper's de-biased b*(1-b^(t-1))/(1-b^t) gives the same moments.
    """
    choose("StableAdamW", variant)
    b1, b2 = betas

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        m, v = slot(state, "m", p), slot(state, "v", p)
        bc1, bc2 = 1 - b1**t, 1 - b2**t
        for i in range(len(p)):
            m[i] = b1 * m[i] + (1 - b1) * grad[i]
            v[i] = b2 * v[i] + (1 - b2) * grad[i] * grad[i]
        terms = [grad[i] * grad[i] / max(v[i] / bc2, eps * eps) for i in range(len(p))]
        rate = a / max(1.0, math.sqrt(math.fsum(terms) / len(p)))
        return [
            p[i] * (1 - rate * weight_decay) - rate * (m[i] / bc1) / (math.sqrt(v[i] / bc2) + eps)
            for i in range(len(p))
        ]

    return trajectory(params, grads, update, lr, lrs)
