"""NAdam (Dozat 2016)."""

import math
from collections.abc import Sequence

from reference.optimizers.registry import choose, reference
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory


@reference(
    "NAdam",
    variants=("torch",),
    options=[
        {},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "momentum_decay": 0.1},
    ],
)
def nadam(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    decoupled_weight_decay: bool = False,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of NAdam.

    `torch`, after Dozat 2016, Algorithm 2 ("Incorporating Nesterov Momentum into Adam"):
    mu_t = b1*(1 - 0.5*0.96^(t*momentum_decay)), M_t = mu_1*...*mu_t;
    p -= a * [ (1-mu_t)/(1-M_t) * g + mu_{t+1}/(1-M_t*mu_{t+1}) * m ] / (sqrt(v/bc2) + eps).
    Weight decay: g <- g + wd*p, or p *= 1 - a*wd before the step if decoupled_weight_decay.
    """
    choose("NAdam", variant)
    b1, b2 = betas

    def mu(t: int) -> float:
        return b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        m, v = slot(state, "m", p), slot(state, "v", p)
        product = math.prod(mu(k) for k in range(1, t + 1))
        bc2 = 1 - b2**t
        new = []
        for i in range(len(p)):
            w, g = p[i], grad[i]
            if decoupled_weight_decay:
                w = w * (1 - a * weight_decay)
            else:
                g = g + weight_decay * w
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            ahead = (1 - mu(t)) / (1 - product) * g + mu(t + 1) / (1 - product * mu(t + 1)) * m[i]
            new.append(w - a * ahead / (math.sqrt(v[i] / bc2) + eps))
        return new

    return trajectory(params, grads, update, lr, lrs)
