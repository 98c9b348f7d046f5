"""Adagrad (Duchi, Hazan & Singer 2011)."""

from collections.abc import Mapping
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.base import Optimizer, Params
from steadystep.rule import NON_NEGATIVE, Rule
from steadystep.step.guarded_step import Nonfinite
from steadystep.tracing.ops import sqrt


def update(g, p, s, *, lr, eps):
    s = s + g * g
    return p - lr * g / (sqrt(s) + eps), s


def scalars(t, lr, lr_decay, eps):
    return lr / (1 + (t - 1) * lr_decay), eps


ADAGRAD = Rule(update, scalars, slots=("sum",), decay="coupled", start={"sum": "initial_accumulator_value"})


class Adagrad(Optimizer):
    r"""Adagrad: every element's step shrinks with the gradients that it has seen, as torch.optim defines it.

    .. math::
        s_t = s_{t-1} + g_t^2, \quad
        \theta_t = \theta_{t-1} - \frac{\alpha}{1 + (t-1) \eta} \frac{g_t}{\sqrt{s_t} + \epsilon}

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0. Default 1e-2.
        lr_decay: \eta, at least 0. Default 0.
        weight_decay: L2 coefficient, added to the gradient as weight_decay * \theta. Default 0.
        initial_accumulator_value: s_0, at least 0. Default 0.
        eps: \epsilon, at least 0. Default 1e-10.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Duchi, Hazan & Singer (2011), "Adaptive subgradient methods for online learning and stochastic
    optimization", Figure 1, diagonal form.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.Adagrad([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.9000])
    """

    variants = ("torch",)
    hyperparameters = {
        "lr": NON_NEGATIVE,
        "lr_decay": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
        "initial_accumulator_value": NON_NEGATIVE,
        "eps": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
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
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
        }
        super().__init__(
            params, defaults, clip, nonfinite, max_consecutive_skips, rounding, variant, backend, maximize, state_dtype
        )

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        return ADAGRAD
