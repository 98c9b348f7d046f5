"""LAMB (You et al. 2020): Adam's direction, scaled for each tensor by a trust ratio."""

from collections.abc import Mapping
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.base import Optimizer, Params
from steadystep.optimizers.rectification import length, rectification
from steadystep.rule import DECAY_RATE, NON_NEGATIVE, Rule
from steadystep.step.guarded_step import Nonfinite
from steadystep.tracing.ops import sqrt, where


def update(
    g, p, m, v, *, lr, beta1, one_minus_beta1, beta2, one_minus_beta2, gain, adaptive, debias2, floor, decay, trust
):
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    r = gain * m / (adaptive * sqrt(debias2 * v) + floor) + decay * p
    return p - lr * trust * r, m, v


def sums(g, p, m, v, *, lr, beta1, one_minus_beta1, beta2, one_minus_beta2, gain, adaptive, debias2, floor, decay):
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    r = gain * m / (adaptive * sqrt(debias2 * v) + floor) + decay * p
    return p * p, r * r


def trust_ratio(count, p_squared, r_squared):
    usable = (p_squared > 0) & (r_squared > 0)
    return (where(usable, sqrt(p_squared) / sqrt(where(usable, r_squared, 1.0)), 1.0),)


def no_trust_without_decay(count, weight_decay, p_squared, r_squared):
    (ratio,) = trust_ratio(count, p_squared, r_squared)
    return (ratio if weight_decay != 0 else ratio * 0.0 + 1.0,)


def scalars(t, lr, beta1, beta2, eps, weight_decay):
    gain, debias2 = 1 / (1 - beta1**t), 1 / (1 - beta2**t)
    return lr, beta1, 1 - beta1, beta2, 1 - beta2, gain, 1.0, debias2, eps, weight_decay


def rectified_scalars(t, lr, beta1, beta2, eps, weight_decay):
    rectified = length(t, beta2) > 5
    adapted = rectification(t, beta2) * sqrt(1 - beta2**t) / (1 - beta1**t)
    gain = where(rectified, adapted, 1 / (1 - beta1**t))
    adaptive, floor = where(rectified, 1.0, 0.0), where(rectified, eps, 1.0)
    return lr, beta1, 1 - beta1, beta2, 1 - beta2, gain, adaptive, 1.0, floor, weight_decay


SLOTS = ("exp_avg", "exp_avg_sq")
RULES = {
    (variant, rectified): Rule(update, chosen, SLOTS, "within", sums=sums, factors=factors)
    for variant, factors in (("paper", trust_ratio), ("nvlamb", no_trust_without_decay))
    for rectified, chosen in ((False, scalars), (True, rectified_scalars))
}


class LAMB(Optimizer):
    r"""LAMB: a tensor's step is as large as the tensor, times the learning rate.

    .. math::
        r_t = \frac{m_t / (1-\beta_1^t)}{\sqrt{v_t / (1-\beta_2^t)} + \epsilon} + \lambda \theta_{t-1}, \quad
        \theta_t = \theta_{t-1} - \alpha \frac{\lVert \theta_{t-1} \rVert}{\lVert r_t \rVert} r_t

    with Adam's m_t and v_t, and norms over a tensor; the ratio is 1 where either norm is 0. That is the variant
    ``"paper"``, the default; ``"nvlamb"`` has ratio 1 throughout where \lambda = 0.

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0. Default 1e-3.
        betas: (\beta_1, \beta_2), each in [0, 1). Default (0.9, 0.999).
        eps: \epsilon, at least 0. Default 1e-6.
        weight_decay: \lambda, inside the trust ratio, at least 0. Default 0.
        rectified: RAdam's direction inside the trust ratio, m_t / (1-\beta_1^t) while \rho_t <= 5. This package's own
            combination, not from a paper. Default False.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: You et al. (2020), "Large batch optimization for deep learning: training BERT in 76 minutes",
    arXiv:1904.00962v5, Algorithm 2.

    >>> import torch, steadystep
    >>> weight = torch.ones(4, requires_grad=True)
    >>> optimizer = steadystep.LAMB([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.9000, 0.9000, 0.9000, 0.9000])
    """

    variants = ("paper", "nvlamb")
    hyperparameters = {"lr": NON_NEGATIVE, "betas": DECAY_RATE, "eps": NON_NEGATIVE, "weight_decay": NON_NEGATIVE}

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        rectified: bool = False,
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
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "rectified": rectified}
        super().__init__(
            params, defaults, clip, nonfinite, max_consecutive_skips, rounding, variant, backend, maximize, state_dtype
        )

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        return RULES[group["variant"], bool(group["rectified"])]
