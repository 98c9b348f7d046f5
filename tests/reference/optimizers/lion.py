"""Lion (Chen et al. 2023)."""

from collections.abc import Sequence

from reference.optimizers.registry import choose, reference
from reference.optimizers.sign import sign
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, slot, trajectory


@reference(
    "Lion",
    variants=("author",),
    options=[
        {},
        {"weight_decay": 0.1},
        {"lr": 0.01, "betas": (0.5, 0.8), "weight_decay": 0.1},
    ],
)
def lion(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of Lion.

    `author` (Algorithm 2): p -= a*(sign(b1*m + (1-b1)*g) + wd*p), then m = b2*m + (1-b2)*g.
    sign(0) = 0; the decay uses the parameter before the step.
    """
    choose("Lion", variant)
    b1, b2 = betas

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        m = slot(state, "m", p)
        new = []
        for i in range(len(p)):
            new.append(p[i] - a * (sign(b1 * m[i] + (1 - b1) * grad[i]) + weight_decay * p[i]))
            m[i] = b2 * m[i] + (1 - b2) * grad[i]
        return new

    return trajectory(params, grads, update, lr, lrs)
