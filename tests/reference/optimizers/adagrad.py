"""Adagrad (Duchi, Hazan, Singer 2011), diagonal form."""

import math
from collections.abc import Sequence

from reference.optimizers.registry import choose, reference
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory


@reference(
    "Adagrad",
    variants=("torch",),
    options=[
        {},
        {"weight_decay": 0.1},
        {"lr_decay": 0.05},
        {"initial_accumulator_value": 0.1},
        {"lr": 0.1, "eps": 1e-3, "lr_decay": 0.01, "weight_decay": 0.1, "initial_accumulator_value": 0.01},
    ],
)
def adagrad(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-2,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of Adagrad.

    `torch`: g <- g + wd*p; G += g^2; p -= a/(1 + (t-1)*lr_decay) * g/(sqrt(G) + eps).

    Duchi et al. 2011, Figure 1 (diagonal, primal-dual step without projection); lr_decay and eps are torch's.
    Decision: weight decay is torch's L2 penalty, default 0.
    """
    choose("Adagrad", variant)

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        total = slot(state, "sum", p, initial_accumulator_value)
        new = []
        for i in range(len(p)):
            g = grad[i] + weight_decay * p[i]
            total[i] += g * g
            new.append(p[i] - a / (1 + (t - 1) * lr_decay) * g / (math.sqrt(total[i]) + eps))
        return new

    return trajectory(params, grads, update, lr, lrs)
