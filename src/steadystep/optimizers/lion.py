"""Lion (Chen et al. 2023): the sign of an interpolated momentum."""

from collections.abc import Mapping
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.base import Optimizer, Params
from steadystep.rule import DECAY_RATE, NON_NEGATIVE, Rule
from steadystep.step.guarded_step import Nonfinite
from steadystep.tracing.ops import sign


def update(g, p, m, *, lr, beta1, one_minus_beta1, beta2, one_minus_beta2):
    direction = sign(beta1 * m + one_minus_beta1 * g)
    return p - lr * direction, beta2 * m + one_minus_beta2 * g


def scalars(t, lr, beta1, beta2):
    return lr, beta1, 1 - beta1, beta2, 1 - beta2


LION = Rule(update, scalars, ("exp_avg",), "decoupled")


class Lion(Optimizer):
    r"""Lion: every element moves by \alpha, in the direction of an interpolated momentum.

    .. math::
        \theta_t = \theta_{t-1} - \alpha (\operatorname{sign}(\beta_1 m_{t-1} + (1-\beta_1) g_t)
        + \lambda \theta_{t-1}), \quad m_t = \beta_2 m_{t-1} + (1-\beta_2) g_t

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0. Default 1e-4.
        betas: (\beta_1, \beta_2), each in [0, 1). Default (0.9, 0.99).
        weight_decay: \lambda, decoupled, at least 0. Default 0.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Chen et al. (2023), "Symbolic discovery of optimization algorithms", Program 1.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.Lion([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.9000])
    """

    variants = ("author",)
    hyperparameters = {"lr": NON_NEGATIVE, "betas": DECAY_RATE, "weight_decay": NON_NEGATIVE}

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
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
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay}
        super().__init__(
            params, defaults, clip, nonfinite, max_consecutive_skips, rounding, variant, backend, maximize, state_dtype
        )

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        return LION
