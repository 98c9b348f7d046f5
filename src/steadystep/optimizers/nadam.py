"""NAdam: Adam with Nesterov momentum (Dozat 2016)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.base import Optimizer, Params
from steadystep.rule import DECAY_RATE, NON_NEGATIVE, Rule
from steadystep.step.guarded_step import Nonfinite
from steadystep.tracing.ops import sqrt


def update(g, p, m, v, *, lr_g, lr_m, beta1, one_minus_beta1, beta2, one_minus_beta2, debias2, eps):
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    return p - (lr_g * g + lr_m * m) / (sqrt(debias2 * v) + eps), m, v


def schedule(t, beta1, momentum_decay):
    return beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))


def advance(t, beta1, momentum_decay, mu_product):
    return (mu_product * schedule(t, beta1, momentum_decay),)


def scalars(t, lr, beta1, beta2, eps, momentum_decay, mu_product):
    mu, mu_next = schedule(t, beta1, momentum_decay), schedule(t + 1, beta1, momentum_decay)
    lr_g = lr * (1 - mu) / (1 - mu_product)
    lr_m = lr * mu_next / (1 - mu_product * mu_next)
    return lr_g, lr_m, beta1, 1 - beta1, beta2, 1 - beta2, 1 / (1 - beta2**t), eps


NADAM = Rule(update, scalars, ("exp_avg", "exp_avg_sq"), "coupled", counters=("mu_product",), advance=advance)
NADAMW = replace(NADAM, decay="decoupled")


class NAdam(Optimizer):
    r"""NAdam: Adam that looks ahead along its momentum, as torch.optim defines it.

    .. math::
        \mu_t = \beta_1 (1 - \tfrac12 0.96^{t \psi}), \quad
        \theta_t = \theta_{t-1} - \alpha \frac{\frac{1-\mu_t}{1-\prod_{i \le t} \mu_i} g_t
        + \frac{\mu_{t+1}}{1-\prod_{i \le t+1} \mu_i} m_t}{\sqrt{v_t / (1-\beta_2^t)} + \epsilon}

    with Adam's m_t and v_t.

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0. Default 2e-3.
        betas: (\beta_1, \beta_2), each in [0, 1). Default (0.9, 0.999).
        eps: \epsilon, at least 0. Default 1e-8.
        weight_decay: L2 coefficient, or the decoupled one. Default 0.
        momentum_decay: \psi, at least 0. Default 4e-3.
        decoupled_weight_decay: decay the parameter instead of the gradient, as AdamW does. Default False.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Dozat (2016), "Incorporating Nesterov momentum into Adam", Algorithm 2; its schedule for \mu_t.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.NAdam([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.8944])
    """

    variants = ("torch",)
    hyperparameters = {
        "lr": NON_NEGATIVE,
        "betas": DECAY_RATE,
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
        "momentum_decay": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
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
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(
            params, defaults, clip, nonfinite, max_consecutive_skips, rounding, variant, backend, maximize, state_dtype
        )

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        return NADAMW if group["decoupled_weight_decay"] else NADAM
