"""Yogi (Zaheer et al. 2018): the authors' code, Algorithm 2 of the paper, and optax's incorrect port."""

import math
from collections.abc import Sequence

from reference.optimizers.registry import choose, reference
from reference.optimizers.sign import sign
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory


@reference(
    "Yogi",
    variants=("author", "paper", "optax"),
    options=[
        {},
        {"weight_decay": 0.1},
        {"lr": 0.003, "betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.1},
    ],
)
def yogi(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-2,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-3,
    weight_decay: float = 0.0,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of Yogi.

    g <- g + wd*p; m = b1*m + (1-b1)*g; v = v - (1-b2)*sign(v - g^2)*g^2; then, by variant:

    `author` (the first author's code, in tensorflow_addons): m_0 = 0, v_0 = 1e-6;
    p -= a*sqrt(bc2)/bc1 * m/(sqrt(v) + eps). `paper` (Algorithm 2): v_0 = g_1^2, m_0 = 0;
    p -= a * m/(sqrt(v) + eps). `optax`: m_0 = v_0 = 1e-6; p -= a * (m/bc1)/(sqrt(v/bc2) + eps).

    Decisions: sign(0) = 0, so the first update leaves v = g_1^2 in `paper`. There, g_1 is the first gradient
    of the tensor itself, with its L2 term.
    """
    variant = choose("Yogi", variant)
    b1, b2 = betas

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        g = [grad[i] + weight_decay * p[i] for i in range(len(p))]
        m = slot(state, "m", p, 1e-6 if variant == "optax" else 0.0)
        v = state.setdefault("v", [x * x for x in g]) if variant == "paper" else slot(state, "v", p, 1e-6)
        bc1, bc2 = 1 - b1**t, 1 - b2**t
        new = []
        for i in range(len(p)):
            square = g[i] * g[i]
            m[i] = b1 * m[i] + (1 - b1) * g[i]
            v[i] = v[i] - (1 - b2) * sign(v[i] - square) * square
            if variant == "author":
                step = math.sqrt(bc2) / bc1 * m[i] / (math.sqrt(v[i]) + eps)
            elif variant == "paper":
                step = m[i] / (math.sqrt(v[i]) + eps)
            else:
                step = (m[i] / bc1) / (math.sqrt(v[i] / bc2) + eps)
            new.append(p[i] - a * step)
        return new

    return trajectory(params, grads, update, lr, lrs)
