"""AMSGrad (Reddi, Kale & Kumar 2018): Adam with the largest second moment so far."""

from collections.abc import Mapping
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.adam import scalars, update_max
from steadystep.optimizers.base import Optimizer, Params
from steadystep.rule import DECAY_RATE, NON_NEGATIVE, Rule
from steadystep.step.guarded_step import Nonfinite
from steadystep.tracing.ops import maximum, sqrt


def corrected(g, p, m, v, x, *, lr, beta1, one_minus_beta1, beta2, one_minus_beta2, debias1, debias2, eps):
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    x = maximum(x, debias2 * v)
    return p - lr * (debias1 * m) / (sqrt(x) + eps), m, v, x


def uncorrected_scalars(t, lr, beta1, beta2, eps):
    return lr, beta1, 1 - beta1, beta2, 1 - beta2, 1.0, 1.0, eps


SLOTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
RULES = {
    "torch": Rule(update_max, scalars, SLOTS, "coupled"),
    "paper": Rule(update_max, uncorrected_scalars, SLOTS, "coupled"),
    "corrected": Rule(corrected, scalars, SLOTS, "coupled"),
}


class AMSGrad(Optimizer):
    r"""AMSGrad: Adam with the maximum of its second moments, so that a large gradient is not forgotten.

    .. math:: x_t = \max(x_{t-1}, v_t), \quad \theta_t = \theta_{t-1} - \alpha \frac{m_t}{\sqrt{x_t} + \epsilon}

    with Adam's m_t and v_t. That is the variant ``"paper"``, without bias correction and with a step size that never
    grows. ``"torch"``, the default, corrects m_t and x_t by Adam's factors, and ``"corrected"`` (optax) takes the
    maximum of the corrected v_t / (1-\beta_2^t). They differ: with \alpha = 1e-3 and a gradient of 10 once and then
    1, 2000 steps move a parameter by -2.774 (paper), -1.869 (torch), -0.203 (corrected).

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0. Default 1e-3.
        betas: (\beta_1, \beta_2), each in [0, 1). Default (0.9, 0.999).
        eps: \epsilon, at least 0. Default 1e-8.
        weight_decay: L2 coefficient, added to the gradient as weight_decay * \theta. Default 0.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Reddi, Kale & Kumar (2018), "On the convergence of Adam and beyond", Algorithm 2.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.AMSGrad([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.9000])
    """

    variants = ("torch", "paper", "corrected")
    hyperparameters = {"lr": NON_NEGATIVE, "betas": DECAY_RATE, "eps": NON_NEGATIVE, "weight_decay": NON_NEGATIVE}

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
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
