"""Adam (Kingma and Ba 2015), and the epsilon-hat form given at the end of section 2 of the paper."""

import math
from collections.abc import Sequence

from reference.optimizers.registry import choose, reference
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory


@reference(
    "Adam",
    variants=("torch", "epsilon_hat"),
    options=[
        {},
        {"weight_decay": 0.1},
        {"amsgrad": True},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True},
        {"betas": (0.0, 0.99)},
    ],
)
def adam(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of Adam.

    g <- g + wd*p; m = b1*m + (1-b1)*g; v = b2*v + (1-b2)*g^2; then, by variant:

    `torch` (Algorithm 1): p -= a * (m/bc1) / (sqrt(v/bc2) + eps).
    `epsilon_hat` (end of section 2; TF, Keras): p -= a*sqrt(bc2)/bc1 * m / (sqrt(v) + eps). The default eps
    stays at 1e-8 here (TF's and Keras's is 1e-7).
    amsgrad: the step uses x = max(x, v), the maximum of the raw v, instead of v (torch's form).
    """
    variant = choose("Adam", variant)
    b1, b2 = betas

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        m, v, x = slot(state, "m", p), slot(state, "v", p), slot(state, "x", p)
        bc1, bc2 = 1 - b1**t, 1 - b2**t
        new = []
        for i in range(len(p)):
            g = grad[i] + weight_decay * p[i]
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            x[i] = max(x[i], v[i])
            second = x[i] if amsgrad else v[i]
            if variant == "torch":
                step = a * (m[i] / bc1) / (math.sqrt(second / bc2) + eps)
            else:
                step = a * math.sqrt(bc2) / bc1 * m[i] / (math.sqrt(second) + eps)
            new.append(p[i] - step)
        return new

    return trajectory(params, grads, update, lr, lrs)
