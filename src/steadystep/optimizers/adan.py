"""Adan (Xie et al. 2022): Adam with Nesterov momentum, from the differences of successive gradients."""

from collections.abc import Mapping
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.base import Optimizer, Params
from steadystep.rule import DECAY_RATE, NON_NEGATIVE, Rule
from steadystep.step.guarded_step import Nonfinite
from steadystep.tracing.ops import sqrt, where


def update(
    g, p, m, n, v, g_old, *,
    lr, beta1, one_minus_beta1, beta2, one_minus_beta2, beta3, one_minus_beta3, debias1, debias2, debias3, eps, later,
    growth,
):  # fmt: skip
    change = later * (g + g_old)  # of the gradient since the last step; the old one is stored with its sign reversed
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * change
    u = g + beta2 * change
    n = beta3 * n + one_minus_beta3 * u * u
    step = lr * (debias1 * m + beta2 * debias2 * v) / (sqrt(debias3 * n) + eps)
    return (p - step) / growth, m, n, v, -g


def scalars(t, lr, beta1, beta2, beta3, eps, weight_decay):
    debias1, debias2, debias3 = 1 / (1 - beta1**t), 1 / (1 - beta2**t), 1 / (1 - beta3**t)
    decays = beta1, 1 - beta1, beta2, 1 - beta2, beta3, 1 - beta3
    later = where(t == 1, 0.0, 1.0)  # the first gradient has no predecessor
    return lr, *decays, debias1, debias2, debias3, eps, later, 1 + lr * weight_decay


def scalars_without_prox(t, lr, beta1, beta2, beta3, eps):
    return (*scalars(t, lr, beta1, beta2, beta3, eps, 0.0)[:-1], 1.0)


SLOTS = ("exp_avg", "exp_avg_sq", "exp_avg_diff", "neg_pre_grad")
RULES = {  # by no_prox
    False: Rule(update, scalars, SLOTS, "within"),
    True: Rule(update, scalars_without_prox, SLOTS, "decoupled"),
}


class Adan(Optimizer):
    r"""Adan: adaptive Nesterov momentum, as its authors released it.

    .. math::
        m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \quad v_t = \beta_2 v_{t-1} + (1-\beta_2) (g_t - g_{t-1}), \quad
        n_t = \beta_3 n_{t-1} + (1-\beta_3) (g_t + \beta_2 (g_t - g_{t-1}))^2, \quad
        \theta_t = \frac{1}{1 + \alpha\lambda} \left( \theta_{t-1} - \alpha
        \frac{m_t / (1-\beta_1^t) + \beta_2 v_t / (1-\beta_2^t)}{\sqrt{n_t / (1-\beta_3^t)} + \epsilon} \right)

    with g_0 = g_1. The paper writes 1 - \beta for what is \beta here, as in the authors' code.

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0. Default 1e-3.
        betas: (\beta_1, \beta_2, \beta_3), each in [0, 1). Default (0.98, 0.92, 0.99).
        eps: \epsilon, at least 0. Default 1e-8.
        weight_decay: \lambda, at least 0. Default 0.
        no_prox: decay by the factor 1 - \alpha\lambda before the step, as AdamW does, instead of dividing by
            1 + \alpha\lambda after it. Default False.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Xie, Zhou, Li, Lin & Yan (2022), "Adan: adaptive Nesterov momentum algorithm for faster optimizing deep
    models", Algorithm 1, and the authors' code, sail-sg/Adan.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.Adan([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.9000])
    """

    variants = ("author",)
    hyperparameters = {"lr": NON_NEGATIVE, "betas": DECAY_RATE, "eps": NON_NEGATIVE, "weight_decay": NON_NEGATIVE}

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        no_prox: bool = False,
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
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "no_prox": no_prox}
        super().__init__(
            params, defaults, clip, nonfinite, max_consecutive_skips, rounding, variant, backend, maximize, state_dtype
        )

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        return RULES[bool(group["no_prox"])]
