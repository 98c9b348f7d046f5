"""AdamW (Loshchilov and Hutter 2019): decay multiplied by the learning rate, or by its schedule alone."""

import math
from collections.abc import Sequence

from reference.optimizers.registry import choose, reference
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory


@reference(
    "AdamW",
    variants=("torch", "independent"),
    options=[
        {},
        {"weight_decay": 0.0},
        {"weight_decay": 0.1, "amsgrad": True},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.05},
    ],
)
def adamw(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    amsgrad: bool = False,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of AdamW.

    The parameter decays first; then it takes Adam's step (Algorithm 1 of Kingma and Ba) on the gradient alone.

    `torch`: p *= 1 - a*wd. `independent` (Loshchilov and Hutter, Algorithm 2 line 12: eta_t*lambda*theta,
    with the schedule multiplier eta_t = a/base_lr): p *= 1 - wd*a/base_lr. base_lr is the `lr` argument.
    amsgrad: x = max(x, v) instead of v (torch's form).

    Decision: both variants decay first and step second, as torch does. The paper subtracts both at once, which
    is the same, because the step does not read the decayed parameter.
    """
    variant = choose("AdamW", variant)
    b1, b2 = betas

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        m, v, x = slot(state, "m", p), slot(state, "v", p), slot(state, "x", p)
        bc1, bc2 = 1 - b1**t, 1 - b2**t
        decay = a * weight_decay if variant == "torch" else weight_decay * a / lr
        new = []
        for i in range(len(p)):
            g = grad[i]
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            x[i] = max(x[i], v[i])
            second = x[i] if amsgrad else v[i]
            new.append(p[i] * (1 - decay) - a * (m[i] / bc1) / (math.sqrt(second / bc2) + eps))
        return new

    return trajectory(params, grads, update, lr, lrs)
