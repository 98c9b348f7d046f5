"""StableAdamW (Wortsman et al. 2023): AdamW with update clipping per tensor."""

from collections.abc import Mapping
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.base import Optimizer, Params
from steadystep.rule import DECAY_RATE, NON_NEGATIVE, Rule
from steadystep.step.guarded_step import Nonfinite
from steadystep.tracing.ops import maximum, sqrt


def update(
    g, p, m, v, *, beta1, one_minus_beta1, beta2, one_minus_beta2, debias1, debias2, eps, eps_squared, decay, lr
):
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    return p - lr * (debias1 * m / (sqrt(debias2 * v) + eps) + decay * p), m, v


def sums(g, p, m, v, *, beta1, one_minus_beta1, beta2, one_minus_beta2, debias1, debias2, eps, eps_squared, decay):
    v = beta2 * v + one_minus_beta2 * g * g
    return (g * g / maximum(debias2 * v, eps_squared),)


def factors(count, lr, total):
    return (lr / maximum(sqrt(total / count), 1.0),)


def scalars(t, beta1, beta2, eps, weight_decay):
    debias1, debias2 = 1 / (1 - beta1**t), 1 / (1 - beta2**t)
    return beta1, 1 - beta1, beta2, 1 - beta2, debias1, debias2, eps, eps * eps, weight_decay


STABLEADAMW = Rule(update, scalars, ("exp_avg", "exp_avg_sq"), "within", sums=sums, factors=factors)


class StableAdamW(Optimizer):
    r"""StableAdamW: AdamW that slows down, tensor by tensor, when its second moment is out of date.

    .. math::
        \alpha' = \alpha / \max\left(1, \sqrt{\operatorname{mean}(g_t^2 / \max(\hat v_t, \epsilon^2))}\right), \quad
        \theta_t = (1 - \alpha' \lambda) \theta_{t-1} - \alpha' \frac{\hat m_t}{\sqrt{\hat v_t} + \epsilon}

    with Adam's corrected \hat m_t and \hat v_t of this step, and the mean over a tensor.

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0. Default 1e-3.
        betas: (\beta_1, \beta_2), each in [0, 1). Default (0.9, 0.99).
        eps: \epsilon, at least 0. Default 1e-6.
        weight_decay: \lambda, decoupled, at least 0. Default 1e-2.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Wortsman et al. (2023), "Stable and low-precision training for large-scale vision-language models",
    Algorithm 2.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.StableAdamW([weight], lr=0.1, weight_decay=0.5)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.8500])
    """

    variants = ("paper",)
    hyperparameters = {"lr": NON_NEGATIVE, "betas": DECAY_RATE, "eps": NON_NEGATIVE, "weight_decay": NON_NEGATIVE}

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
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
        return STABLEADAMW
