"""RMSprop (Tieleman and Hinton 2012, Coursera lecture 6e), centered as in Graves 2013."""

import math
from collections.abc import Sequence

from reference.optimizers.registry import choose, reference
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory


@reference(
    "RMSprop",
    variants=("torch",),
    options=[
        {},
        {"weight_decay": 0.1},
        {"momentum": 0.9},
        {"centered": True},
        {"lr": 3e-3, "alpha": 0.9, "eps": 1e-3, "momentum": 0.8, "centered": True, "weight_decay": 0.1},
    ],
)
def rmsprop(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of RMSprop.

    `torch`: g <- g + wd*p; s = alpha*s + (1-alpha)*g^2; d = sqrt(s) + eps; p -= a*g/d.

    Centered (Graves 2013, eqs. 38-41): h = alpha*h + (1-alpha)*g, d = sqrt(s - h^2) + eps. With momentum:
    u = mu*u + g/d; p -= a*u. eps is outside the root, as in torch (Graves has it inside).
    Decision: weight decay is torch's L2 penalty, default 0.
    """
    choose("RMSprop", variant)

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        s, h, u = slot(state, "s", p), slot(state, "h", p), slot(state, "u", p)
        new = []
        for i in range(len(p)):
            g = grad[i] + weight_decay * p[i]
            s[i] = alpha * s[i] + (1 - alpha) * g * g
            h[i] = alpha * h[i] + (1 - alpha) * g
            variance = s[i] - h[i] * h[i] if centered else s[i]
            direction = g / (math.sqrt(variance) + eps)
            if momentum > 0:
                u[i] = momentum * u[i] + direction
                direction = u[i]
            new.append(p[i] - a * direction)
        return new

    return trajectory(params, grads, update, lr, lrs)
