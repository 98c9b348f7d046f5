"""RAdam (Liu et al. 2020): torch's form, the authors' released code, and Algorithm 2 of the paper."""

import math
from collections.abc import Sequence

from reference.optimizers.rectification import rectifier, rho
from reference.optimizers.registry import choose, reference
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory


@reference(
    "RAdam",
    variants=("torch", "author", "paper"),
    options=[
        {},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
        {"betas": (0.9, 0.65)},  # rho_inf = 4.71: rectified by the paper's threshold only
        {"betas": (0.8, 0.5)},  # rho_inf = 3: never rectified
    ],
)
def radam(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of RAdam.

    Rectified step: p -= a * r_t * sqrt(bc2)/bc1 * m / (sqrt(v) + eps); un-normalised step: p -= a * m/bc1.

    `torch`: rectified when rho_t > 5, else un-normalised. `paper` (Liu et al. 2020, Algorithm 2, with
    epsilon-hat): rectified when rho_t > 4, else un-normalised. `author` (the authors' RAdam class with
    degenerated_to_sgd=False): rectified when rho_t >= 5, else neither update nor decay; m, v and t advance.

    Decay: g <- g + wd*p, or p *= 1 - a*wd before the step if decoupled_weight_decay. `author` always
    decouples, whatever the flag. The paper has no weight decay; its variant handles the flag as `torch` does.
    """
    variant = choose("RAdam", variant)
    b1, b2 = betas

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        m, v = slot(state, "m", p), slot(state, "v", p)
        bc1, bc2 = 1 - b1**t, 1 - b2**t
        length = rho(b2, t)
        rectified = {"torch": length > 5, "author": length >= 5, "paper": length > 4}[variant]
        decoupled = decoupled_weight_decay or variant == "author"
        new = []
        for i in range(len(p)):
            g = grad[i] if decoupled else grad[i] + weight_decay * p[i]
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            w = p[i] * (1 - a * weight_decay) if decoupled else p[i]
            if rectified:
                r = rectifier(b2, t)
                new.append(w - a * r * math.sqrt(bc2) / bc1 * m[i] / (math.sqrt(v[i]) + eps))
            elif variant == "author":
                new.append(p[i])
            else:
                new.append(w - a * m[i] / bc1)
        return new

    return trajectory(params, grads, update, lr, lrs)
