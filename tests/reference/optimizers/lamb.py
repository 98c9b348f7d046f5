"""LAMB (You et al. 2020, arXiv 1904.00962v5), NVLAMB, and this package's LAMB with RAdam's direction."""

import math
from collections.abc import Sequence

from reference.optimizers.rectification import rectifier, rho
from reference.optimizers.registry import choose, reference
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory


@reference(
    "LAMB",
    variants=("paper", "nvlamb"),
    options=[
        {},
        {"weight_decay": 0.1},
        {"rectified": True},
        {"rectified": True, "weight_decay": 0.1},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    ],
)
def lamb(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    rectified: bool = False,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of LAMB.

    Per tensor: r = (m/bc1)/(sqrt(v/bc2) + eps) + wd*p; p -= a * norm(p)/norm(r) * r.

    `paper` (Algorithm 2 of v5, phi the identity): the ratio is 1 where either norm is 0. `nvlamb`: the ratio
    is also 1 throughout where wd = 0. rectified: the direction is RAdam's,
    r_t*sqrt(bc2)/bc1 * m/(sqrt(v) + eps) when rho_t > 5, else m/bc1, plus wd*p.

    Decisions: RAdam's direction is that of RAdam `torch`, with its epsilon-hat. NVLAMB's normalisation of the
    gradient by its global norm is not part of this optimizer: a clipper does it.
    """
    variant = choose("LAMB", variant)
    b1, b2 = betas

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        m, v = slot(state, "m", p), slot(state, "v", p)
        bc1, bc2 = 1 - b1**t, 1 - b2**t
        r = []
        for i in range(len(p)):
            m[i] = b1 * m[i] + (1 - b1) * grad[i]
            v[i] = b2 * v[i] + (1 - b2) * grad[i] * grad[i]
            if not rectified:
                direction = (m[i] / bc1) / (math.sqrt(v[i] / bc2) + eps)
            elif rho(b2, t) > 5:
                direction = rectifier(b2, t) * math.sqrt(bc2) / bc1 * m[i] / (math.sqrt(v[i]) + eps)
            else:
                direction = m[i] / bc1
            r.append(direction + weight_decay * p[i])
        norm_p, norm_r = math.hypot(*p), math.hypot(*r)
        plain = norm_p == 0 or norm_r == 0 or (variant == "nvlamb" and weight_decay == 0)
        ratio = 1.0 if plain else norm_p / norm_r
        return [p[i] - a * ratio * r[i] for i in range(len(p))]

    return trajectory(params, grads, update, lr, lrs)
