"""AdaBound and AMSBound (Luo et al. 2019): the authors' class, and Algorithms 2 and 3 of the paper."""

import math
from collections.abc import Sequence

from reference.optimizers.registry import choose, reference
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory

OPTIONS = [
    {},
    {"weight_decay": 0.1},
    {"gamma": 0.2},
    {"lr": 0.01, "betas": (0.8, 0.9), "final_lr": 0.02, "gamma": 0.05, "eps": 1e-3, "weight_decay": 0.1},
]


@reference("AdaBound", variants=("author", "paper"), options=OPTIONS)
def adabound(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    final_lr: float = 0.1,
    gamma: float = 1e-3,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
    amsbound: bool = False,
) -> Trajectory:
    """Compute the trajectory of AdaBound.

    g <- g + wd*p; m and v as in Adam; p -= eta*m, where the element-wise rate eta depends on the variant.

    `author`: f = final_lr*a/base_lr, where base_lr is the `lr` argument;
    eta = clip(a*sqrt(bc2)/bc1/(sqrt(v) + eps), f*(1 - 1/(gamma*t + 1)), f*(1 + 1/(gamma*t))).
    `paper` (Algorithm 2 and section 4): eta = clip(a/sqrt(v), lower, upper)/sqrt(t), with
    lower = final_lr - final_lr/((1-b2)*t + 1) and upper = final_lr + final_lr/((1-b2)*t).
    AMSBound (Algorithm 3): eta uses x = max(x, v), of the raw v, instead of v.

    Decisions: `paper` has no gamma and no eps, so both are without effect there. Its constant 0.1 is final_lr
    (the default), which is not rescaled when lr changes. a/sqrt(0) is infinite, so it is clipped to upper.
    """
    variant = choose("AdaBound", variant)
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
            root = math.sqrt(x[i] if amsbound else v[i])
            if variant == "author":
                f = final_lr * a / lr
                rate = a * math.sqrt(bc2) / bc1 / (root + eps)
                lower, upper = f * (1 - 1 / (gamma * t + 1)), f * (1 + 1 / (gamma * t))
                eta = min(max(rate, lower), upper)
            else:
                rate = a / root if root > 0 else math.inf
                lower = final_lr - final_lr / ((1 - b2) * t + 1)
                upper = final_lr + final_lr / ((1 - b2) * t)
                eta = min(max(rate, lower), upper) / math.sqrt(t)
            new.append(p[i] - eta * m[i])
        return new

    return trajectory(params, grads, update, lr, lrs)


@reference("AMSBound", variants=("author", "paper"), options=OPTIONS)
def amsbound(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    final_lr: float = 0.1,
    gamma: float = 1e-3,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of AMSBound: AdaBound with the running maximum of the raw v, see `adabound`."""
    return adabound(
        params,
        grads,
        lr=lr,
        betas=betas,
        final_lr=final_lr,
        gamma=gamma,
        eps=eps,
        weight_decay=weight_decay,
        variant=variant,
        lrs=lrs,
        amsbound=True,
    )
