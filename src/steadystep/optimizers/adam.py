"""Adam (Kingma & Ba 2015)."""

from collections.abc import Mapping
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.base import Optimizer, Params
from steadystep.rule import DECAY_RATE, NON_NEGATIVE, Rule
from steadystep.step.guarded_step import Nonfinite
from steadystep.tracing.ops import maximum, sqrt


def update(g, p, m, v, *, lr, beta1, one_minus_beta1, beta2, one_minus_beta2, debias1, debias2, eps):
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    m_hat = debias1 * m
    v_hat = debias2 * v
    return p - lr * m_hat / (sqrt(v_hat) + eps), m, v


def update_max(g, p, m, v, x, *, lr, beta1, one_minus_beta1, beta2, one_minus_beta2, debias1, debias2, eps):
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    x = maximum(x, v)
    return p - lr * (debias1 * m) / (sqrt(debias2 * x) + eps), m, v, x


def scalars(t, lr, beta1, beta2, eps):
    debias1 = 1 / (1 - beta1**t)
    debias2 = 1 / (1 - beta2**t)
    return lr, beta1, 1 - beta1, beta2, 1 - beta2, debias1, debias2, eps


def epsilon_hat(t, lr, beta1, beta2, eps):
    return lr * sqrt(1 - beta2**t) / (1 - beta1**t), beta1, 1 - beta1, beta2, 1 - beta2, 1.0, 1.0, eps


SLOTS = ("exp_avg", "exp_avg_sq")
RULES = {  # by (variant, amsgrad)
    ("torch", False): Rule(update, scalars, SLOTS, "coupled"),
    ("torch", True): Rule(update_max, scalars, (*SLOTS, "max_exp_avg_sq"), "coupled"),
    ("epsilon_hat", False): Rule(update, epsilon_hat, SLOTS, "coupled"),
    ("epsilon_hat", True): Rule(update_max, epsilon_hat, (*SLOTS, "max_exp_avg_sq"), "coupled"),
}


class Adam(Optimizer):
    r"""Adam, Algorithm 1 of its paper, as torch.optim defines it.

    .. math::
        m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \quad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2, \quad
        \theta_t = \theta_{t-1} - \alpha \frac{m_t / (1-\beta_1^t)}{\sqrt{v_t / (1-\beta_2^t)} + \epsilon}

    The variant ``"epsilon_hat"`` (the end of section 2 of the paper; TensorFlow and Keras) adds \epsilon to the
    uncorrected \sqrt{v_t} and corrects the whole step; at t = 1 the same \epsilon acts 31.6 times larger.

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0. Default 1e-3.
        betas: (\beta_1, \beta_2), each in [0, 1). Default (0.9, 0.999).
        eps: \epsilon, at least 0. Default 1e-8.
        weight_decay: L2 coefficient, added to the gradient as weight_decay * \theta. Default 0.
        amsgrad: divide by the largest second moment so far: AMSGrad as torch.optim has it. Default False.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Kingma & Ba (2015), "Adam: a method for stochastic optimization", Algorithm 1.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.Adam([weight], lr=0.1, clip=1.0)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data, optimizer.ledger["norm_before"], optimizer.ledger["norm_after"]
    (tensor([0.9000]), 2.0, 1.0)
    """

    variants = ("torch", "epsilon_hat")
    hyperparameters = {"lr": NON_NEGATIVE, "betas": DECAY_RATE, "eps": NON_NEGATIVE, "weight_decay": NON_NEGATIVE}

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
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
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(
            params, defaults, clip, nonfinite, max_consecutive_skips, rounding, variant, backend, maximize, state_dtype
        )

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        return RULES[group["variant"], bool(group["amsgrad"])]
