"""SGD with momentum: torch's form, and the velocity form of Sutskever et al. 2013 (Keras)."""

from collections.abc import Sequence

from reference.optimizers.registry import choose, reference
from reference.optimizers.trajectory import Gradients, Params, State, Tensor, Trajectory, trajectory


@reference(
    "SGD",
    variants=("torch", "velocity"),
    options=[
        {},
        {"lr": 0.05, "weight_decay": 0.1},
        {"lr": 0.05, "momentum": 0.9},
        {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1},
        {"lr": 0.05, "momentum": 0.9, "nesterov": True},
        {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ],
    torch=[{"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}],
)
def sgd(
    params: Params,
    grads: Gradients,
    *,
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    variant: str | None = None,
    lrs: Sequence[float] | None = None,
) -> Trajectory:
    """Compute the trajectory of SGD.

    g <- g + wd*p; then, by variant:

    `torch` (torch.optim.SGD): u_1 = g_1, u_t = mu*u_{t-1} + (1-damp)*g_t; p -= a*u_t, with Nesterov
    p -= a*(g_t + mu*u_t). `velocity` (Sutskever et al. 2013, eqs. 1-4 as Keras applies them): u_0 = 0,
    u_t = mu*u_{t-1} - a*g_t; p += u_t, with Nesterov p += mu*u_t - a*g_t.

    Decisions: with momentum 0 there is no u (dampening is then without effect, as in torch). Dampening has no
    meaning in the velocity form and is refused there. Weight decay is an L2 penalty in both.
    """
    variant = choose("SGD", variant)
    if variant == "velocity" and dampening != 0:
        raise ValueError(f"dampening={dampening!r}: the velocity form has none")

    def update(p: Tensor, grad: Tensor, state: State, t: int, a: float) -> Tensor:
        new = []
        first = "u" not in state
        u = state.setdefault("u", [0.0] * len(p))
        for i in range(len(p)):
            g = grad[i] + weight_decay * p[i]
            if variant == "velocity":
                u[i] = momentum * u[i] - a * g
                new.append(p[i] + (momentum * u[i] - a * g if nesterov else u[i]))
            elif momentum == 0:
                new.append(p[i] - a * g)
            else:
                u[i] = g if first else momentum * u[i] + (1 - dampening) * g
                new.append(p[i] - a * (g + momentum * u[i] if nesterov else u[i]))
        return new

    return trajectory(params, grads, update, lr, lrs)
