"""RMSprop (Tieleman & Hinton 2012), plain or centered (Graves 2013), with or without momentum."""

from collections.abc import Mapping
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.base import Optimizer, Params
from steadystep.rule import DECAY_RATE, NON_NEGATIVE, Rule
from steadystep.step.guarded_step import Nonfinite
from steadystep.tracing.ops import maximum, sqrt


def plain(g, p, s, *, lr, alpha, one_minus_alpha, eps):
    s = alpha * s + one_minus_alpha * g * g
    return p - lr * g / (sqrt(s) + eps), s


def centered(g, p, s, a, *, lr, alpha, one_minus_alpha, eps):
    s = alpha * s + one_minus_alpha * g * g
    a = alpha * a + one_minus_alpha * g
    return p - lr * g / (sqrt(maximum(s - a * a, 0.0)) + eps), s, a


def plain_momentum(g, p, s, u, *, lr, alpha, one_minus_alpha, eps, momentum):
    s = alpha * s + one_minus_alpha * g * g
    u = momentum * u + g / (sqrt(s) + eps)
    return p - lr * u, s, u


def centered_momentum(g, p, s, a, u, *, lr, alpha, one_minus_alpha, eps, momentum):
    s = alpha * s + one_minus_alpha * g * g
    a = alpha * a + one_minus_alpha * g
    u = momentum * u + g / (sqrt(maximum(s - a * a, 0.0)) + eps)
    return p - lr * u, s, a, u


def scalars(t, lr, alpha, eps):
    return lr, alpha, 1 - alpha, eps


def momentum_scalars(t, lr, alpha, eps, momentum):
    return lr, alpha, 1 - alpha, eps, momentum


RULES = {  # by (centered, with momentum)
    (False, False): Rule(plain, scalars, ("square_avg",), "coupled"),
    (True, False): Rule(centered, scalars, ("square_avg", "grad_avg"), "coupled"),
    (False, True): Rule(plain_momentum, momentum_scalars, ("square_avg", "momentum_buffer"), "coupled"),
    (True, True): Rule(centered_momentum, momentum_scalars, ("square_avg", "grad_avg", "momentum_buffer"), "coupled"),
}


class RMSprop(Optimizer):
    r"""RMSprop: the gradient over the root of its mean square, as torch.optim defines it.

    .. math::
        s_t = \rho s_{t-1} + (1-\rho) g_t^2, \quad
        u_t = \mu u_{t-1} + \frac{g_t}{\sqrt{s_t} + \epsilon}, \quad \theta_t = \theta_{t-1} - \alpha u_t

    Centered, s_t - a_t^2 takes the place of s_t, with a_t = \rho a_{t-1} + (1-\rho) g_t; should rounding make it
    negative, it counts as 0.

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0. Default 1e-2.
        alpha: \rho in [0, 1). Default 0.99.
        eps: \epsilon, at least 0. Default 1e-8.
        weight_decay: L2 coefficient, added to the gradient as weight_decay * \theta. Default 0.
        momentum: \mu in [0, 1). Default 0.
        centered: divide by the deviation instead of the root mean square. Default False.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Tieleman & Hinton (2012), "Neural networks for machine learning", lecture 6.5; Graves (2013),
    "Generating sequences with recurrent neural networks", equations 38 to 41, for the centered form.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.RMSprop([weight], lr=0.01)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.9000])
    """

    variants = ("torch",)
    hyperparameters = {
        "lr": NON_NEGATIVE,
        "alpha": DECAY_RATE,
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
        "momentum": DECAY_RATE,
    }

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
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
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
        }
        super().__init__(
            params, defaults, clip, nonfinite, max_consecutive_skips, rounding, variant, backend, maximize, state_dtype
        )

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        return RULES[bool(group["centered"]), bool(group["momentum"] > 0)]
