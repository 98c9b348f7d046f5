"""Yogi (Zaheer et al. 2018): Adam whose second moment moves by additive steps."""

from collections.abc import Mapping
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.base import Optimizer, Params
from steadystep.rule import DECAY_RATE, NON_NEGATIVE, Rule
from steadystep.step.guarded_step import Nonfinite
from steadystep.tracing.ops import sign, sqrt, where


def update(g, p, m, v, *, step_size, beta1, one_minus_beta1, one_minus_beta2, debias2, eps):
    m = beta1 * m + one_minus_beta1 * g
    v = v - one_minus_beta2 * sign(v - g * g) * g * g
    return p - step_size * m / (sqrt(debias2 * v) + eps), m, v


def paper(g, p, m, v, *, first, lr, beta1, one_minus_beta1, one_minus_beta2, eps):
    m = beta1 * m + one_minus_beta1 * g
    v = where(first > 0.0, g * g, v)
    v = v - one_minus_beta2 * sign(v - g * g) * g * g
    return p - lr * m / (sqrt(v) + eps), m, v


def author_scalars(t, lr, beta1, beta2, eps):
    return lr * sqrt(1 - beta2**t) / (1 - beta1**t), beta1, 1 - beta1, 1 - beta2, 1.0, eps


def optax_scalars(t, lr, beta1, beta2, eps):
    return lr / (1 - beta1**t), beta1, 1 - beta1, 1 - beta2, 1 / (1 - beta2**t), eps


def paper_scalars(t, lr, beta1, beta2, eps):
    return where(t == 1, 1.0, 0.0), lr, beta1, 1 - beta1, 1 - beta2, eps


SLOTS = ("exp_avg", "exp_avg_sq")
RULES = {
    "author": Rule(update, author_scalars, SLOTS, "coupled", start={"exp_avg_sq": 1e-6}),
    "paper": Rule(paper, paper_scalars, SLOTS, "coupled"),
    "optax": Rule(update, optax_scalars, SLOTS, "coupled", start={"exp_avg": 1e-6, "exp_avg_sq": 1e-6}),
}


class Yogi(Optimizer):
    r"""Yogi: Adam whose second moment changes by at most (1-\beta_2) g^2 a step, in both directions.

    .. math::
        v_t = v_{t-1} - (1-\beta_2) \operatorname{sign}(v_{t-1} - g_t^2) g_t^2, \quad
        \theta_t = \theta_{t-1} - \alpha \frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t} \frac{m_t}{\sqrt{v_t} + \epsilon}

    with Adam's m_t: the variant ``"author"``, the default, with v_0 = 1e-6. ``"paper"`` starts v at g_1^2 and corrects
    no bias. ``"optax"`` starts m and v at 1e-6 and corrects v as Adam does; kept for parity. A correction that is right
    for Adam's average is not for an additive v: with a gradient of 1 throughout, the 1000th step is still
    0.79 \alpha in both of them, and \alpha in the paper's.

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0. Default 1e-2.
        betas: (\beta_1, \beta_2), each in [0, 1). Default (0.9, 0.999).
        eps: \epsilon, at least 0. Default 1e-3.
        weight_decay: L2 coefficient, added to the gradient as weight_decay * \theta. Default 0.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Zaheer, Reddi, Sachan, Kale & Kumar (2018), "Adaptive methods for nonconvex optimization", Algorithm 2.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.Yogi([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.9016])
    """

    variants = ("author", "paper", "optax")
    hyperparameters = {"lr": NON_NEGATIVE, "betas": DECAY_RATE, "eps": NON_NEGATIVE, "weight_decay": NON_NEGATIVE}

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-3,
        weight_decay: float = 0.0,
        *,
        clip: Clip = None,
        nonfinite: Nonfinite = "skip",
        max_consecutive_skips: int = 25,
        rounding: Rounding = "nearest",
        variant: str | None = None,
        backend: str | None = None,
        maximize: bool = False,
        state_dtype: StateDtype = None,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(
            params, defaults, clip, nonfinite, max_consecutive_skips, rounding, variant, backend, maximize, state_dtype
        )

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        return RULES[group["variant"]]
