"""RAdam: Adam with a rectified learning rate (Liu et al. 2020)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.base import Optimizer, Params
from steadystep.optimizers.rectification import length, rectification
from steadystep.rule import DECAY_RATE, NON_NEGATIVE, Rule
from steadystep.step.guarded_step import Nonfinite
from steadystep.tracing.ops import sqrt, where


def update(g, p, m, v, *, step_size, beta1, one_minus_beta1, beta2, one_minus_beta2, adaptive, floor):
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    return p - step_size * m / (adaptive * sqrt(v) + floor), m, v


def update_decayed(g, p, m, v, *, step_size, beta1, one_minus_beta1, beta2, one_minus_beta2, adaptive, floor, keep):
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    return keep * p - step_size * m / (adaptive * sqrt(v) + floor), m, v


def scalars(t, lr, beta1, beta2, eps):
    return _scalars(t, lr, beta1, beta2, eps, length(t, beta2) > 5)


def paper_scalars(t, lr, beta1, beta2, eps):
    return _scalars(t, lr, beta1, beta2, eps, length(t, beta2) > 4)


def author_scalars(t, lr, beta1, beta2, eps, weight_decay):
    # While the variance is intractable neither update nor decay happens.
    rectified = length(t, beta2) >= 5
    step_size, *rest = _scalars(t, lr, beta1, beta2, eps, rectified)
    return where(rectified, step_size, 0.0), *rest, where(rectified, 1 - lr * weight_decay, 1.0)


def _scalars(t, lr, beta1, beta2, eps, rectified):
    adapted = lr * rectification(t, beta2) * sqrt(1 - beta2**t) / (1 - beta1**t)
    step_size = where(rectified, adapted, lr / (1 - beta1**t))
    # Divided by sqrt(v) + eps once rectified, by 1 before.
    return step_size, beta1, 1 - beta1, beta2, 1 - beta2, where(rectified, 1.0, 0.0), where(rectified, eps, 1.0)


SLOTS = ("exp_avg", "exp_avg_sq")
RULES = {
    "torch": Rule(update, scalars, SLOTS, "coupled"),
    "author": Rule(update_decayed, author_scalars, SLOTS, "within"),
    "paper": Rule(update, paper_scalars, SLOTS, "coupled"),
}
DECOUPLED = {**RULES, **{name: replace(RULES[name], decay="decoupled") for name in ("torch", "paper")}}


class RAdam(Optimizer):
    r"""RAdam: Adam that waits for its second moment to mean something.

    .. math::
        \theta_t = \theta_{t-1} - \alpha \, r_t \frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t} \frac{m_t}{\sqrt{v_t} + \epsilon}
        \text{ if } \rho_t > 5, \quad \theta_t = \theta_{t-1} - \alpha \frac{m_t}{1-\beta_1^t} \text{ before}

    with Adam's m_t and v_t, \rho_t = \rho_\infty - 2 t \beta_2^t / (1-\beta_2^t), \rho_\infty = 2/(1-\beta_2) - 1 and
    r_t^2 = (\rho_t-4)(\rho_t-2)\rho_\infty / ((\rho_\infty-4)(\rho_\infty-2)\rho_t): the variant ``"torch"``, the
    default. ``"paper"`` rectifies from \rho_t > 4. ``"author"`` from \rho_t >= 5, does nothing at all before, and
    always decouples the decay. With \beta_2 = 0.999 the first rectified step is t = 6, for the paper t = 5.

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0. Default 1e-3.
        betas: (\beta_1, \beta_2), each in [0, 1). Default (0.9, 0.999).
        eps: \epsilon, at least 0. Default 1e-8.
        weight_decay: L2 coefficient, or the decoupled one. Default 0.
        decoupled_weight_decay: decay the parameter instead of the gradient, as AdamW does. Default False.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Liu et al. (2020), "On the variance of the adaptive learning rate and beyond", Algorithm 2.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.RAdam([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.8000])
    """

    variants = ("torch", "author", "paper")
    hyperparameters = {"lr": NON_NEGATIVE, "betas": DECAY_RATE, "eps": NON_NEGATIVE, "weight_decay": NON_NEGATIVE}

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
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
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(
            params, defaults, clip, nonfinite, max_consecutive_skips, rounding, variant, backend, maximize, state_dtype
        )

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        rules = DECOUPLED if group["decoupled_weight_decay"] else RULES
        return rules[group["variant"]]
