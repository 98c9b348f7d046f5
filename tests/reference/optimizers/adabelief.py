"""AdaBelief (Zhuang et al. 2020): the released adabelief-pytorch 0.2.0, and Algorithm 2 of the paper."""

import math
from collections.abc import Sequence

from reference.optimizers.rectification import rectifier, rho
from reference.optimizers.registry import choose, reference
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory


@reference(
    "AdaBelief",
    variants=("author", "paper"),
    options=[
        {},
        {"weight_decay": 0.1},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.1},
    ],
    author=[
        {"rectify": False},
        {"rectify": False, "eps": 1e-8, "weight_decay": 0.1},
        {"betas": (0.9, 0.65)},
    ],
)
def adabelief(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float | None = None,
    weight_decay: float = 0.0,
    rectify: bool = True,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of AdaBelief.

    p *= 1 - a*wd; m = b1*m + (1-b1)*g; s = b2*s + (1-b2)*(g-m)^2 + eps, with the new m; s is stored with eps.

    `author`, rectify=True: p -= a * r_t*sqrt(bc2)/bc1 * m/(sqrt(s) + eps) when rho_t >= 5, else the
    un-normalised p -= a * m/bc1; rectify=False: p -= a * (m/bc1) / (sqrt(s)/sqrt(bc2) + eps).
    `paper` (Algorithm 2): p -= a * (m/bc1) / (sqrt(s/bc2) + eps).

    Decisions: eps=None means 1e-16 (`author`) or 1e-8 (`paper`), the two published defaults. `paper` never
    rectifies, whatever the flag. The decay acts in every step, un-normalised ones included (0.2.0 does so),
    and is the same in `paper`. `paper` and `author` with rectify=False then differ in the default eps only.
    """
    variant = choose("AdaBelief", variant)
    b1, b2 = betas
    small = (1e-16 if variant == "author" else 1e-8) if eps is None else eps

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        m, s = slot(state, "m", p), slot(state, "s", p)
        bc1, bc2 = 1 - b1**t, 1 - b2**t
        new = []
        for i in range(len(p)):
            m[i] = b1 * m[i] + (1 - b1) * grad[i]
            s[i] = b2 * s[i] + (1 - b2) * (grad[i] - m[i]) ** 2 + small
            if variant == "paper" or not rectify:
                step = (m[i] / bc1) / (math.sqrt(s[i] / bc2) + small)
            elif rho(b2, t) >= 5:
                step = rectifier(b2, t) * math.sqrt(bc2) / bc1 * m[i] / (math.sqrt(s[i]) + small)
            else:
                step = m[i] / bc1
            new.append(p[i] * (1 - a * weight_decay) - a * step)
        return new

    return trajectory(params, grads, update, lr, lrs)
