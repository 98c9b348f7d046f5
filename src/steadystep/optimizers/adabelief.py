"""AdaBelief (Zhuang et al. 2020): Adam that divides by how much the gradient departs from its mean."""

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


def update(g, p, m, s, *, step_size, beta1, one_minus_beta1, beta2, one_minus_beta2, adaptive, debias2, eps, floor):
    m = beta1 * m + one_minus_beta1 * g
    s = beta2 * s + one_minus_beta2 * (g - m) * (g - m) + eps
    return p - step_size * m / (adaptive * sqrt(debias2 * s) + floor), m, s


def scalars(t, lr, beta1, beta2, eps):
    return lr / (1 - beta1**t), beta1, 1 - beta1, beta2, 1 - beta2, 1.0, 1 / (1 - beta2**t), eps, eps


def rectified_scalars(t, lr, beta1, beta2, eps):
    rectified = length(t, beta2) >= 5
    adapted = lr * rectification(t, beta2) * sqrt(1 - beta2**t) / (1 - beta1**t)
    step_size = where(rectified, adapted, lr / (1 - beta1**t))
    adaptive, floor = where(rectified, 1.0, 0.0), where(rectified, eps, 1.0)
    return step_size, beta1, 1 - beta1, beta2, 1 - beta2, adaptive, 1.0, eps, floor


SLOTS = ("exp_avg", "exp_avg_var")
PLAIN = Rule(update, scalars, SLOTS, "decoupled")
RECTIFIED = Rule(update, rectified_scalars, SLOTS, "decoupled")
DEFAULT_EPS = {"author": 1e-16, "paper": 1e-8}


class AdaBelief(Optimizer):
    r"""AdaBelief: long steps where the gradient is as expected, short ones where it is not.

    .. math::
        s_t = \beta_2 s_{t-1} + (1-\beta_2) (g_t - m_t)^2 + \epsilon, \quad
        \theta_t = \theta_{t-1} - \alpha \frac{m_t / (1-\beta_1^t)}{\sqrt{s_t / (1-\beta_2^t)} + \epsilon}

    with Adam's m_t: the variant ``"paper"``. ``"author"`` (adabelief-pytorch 0.2.0), the default, also rectifies as
    RAdam's authors do, with the un-normalised step \alpha m_t / (1-\beta_1^t) while \rho_t < 5.

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0. Default 1e-3.
        betas: (\beta_1, \beta_2), each in [0, 1). Default (0.9, 0.999).
        eps: \epsilon, at least 0. Default 1e-16 for ``"author"``, 1e-8 for ``"paper"``, also in a
            parameter group with its own variant.
        weight_decay: decoupled, as in AdamW. Default 0.
        rectify: RAdam's rectification; ``"paper"`` has none and ignores this. Default True.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Zhuang et al. (2020), "AdaBelief optimizer: adapting stepsizes by the belief in observed gradients",
    Algorithm 2.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.AdaBelief([weight], lr=0.1, variant="paper")
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.8889])
    """

    variants = ("author", "paper")
    hyperparameters = {"lr": NON_NEGATIVE, "betas": DECAY_RATE, "eps": NON_NEGATIVE, "weight_decay": NON_NEGATIVE}

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float | None = None,
        weight_decay: float = 0.0,
        rectify: bool = True,
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
        if eps is None:
            eps = DEFAULT_EPS.get(variant or self.variants[0], 0.0)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "rectify": rectify}
        super().__init__(
            params, defaults, clip, nonfinite, max_consecutive_skips, rounding, variant, backend, maximize, state_dtype
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        own = param_group.get("variant") if isinstance(param_group, dict) else None
        if self.defaults["eps"] == DEFAULT_EPS.get(self.defaults["variant"]) and own in DEFAULT_EPS:
            param_group.setdefault("eps", DEFAULT_EPS[own])
        super().add_param_group(param_group)

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        return RECTIFIED if group["rectify"] and group["variant"] == "author" else PLAIN
