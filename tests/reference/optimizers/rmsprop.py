"""RMSprop (Tieleman and Hinton 2012, Coursera lecture 6e), centered as in Graves 2013."""

import math
from collections.abc import Sequence

from reference.optimizers.trajectory import (
    Gradients,
    Params,
    State,
    Tensor,
    Trajectory,
    choose,
    slot,
    trajectory,
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
    """`torch`: g <- g + wd*p; s = alpha*s + (1-alpha)*g^2; d = sqrt(s) + eps; p -= a*g/d.

    Centered (Graves 2013, eqs. 38-41): h = alpha*h + (1-alpha)*g, d = sqrt(s - h^2) + eps. With momentum:
    u = mu*u + g/d; p -= a*u. eps outside the root, as torch has it (Graves has it inside).
    Decision: the table names no weight decay; torch's L2 is meant, default 0.
    """
    choose(variant, ("torch",))

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
