"""Stochastic gradient descent, with heavy-ball or Nesterov momentum."""

from collections.abc import Mapping
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.base import Optimizer, Params
from steadystep.rule import DECAY_RATE, NON_NEGATIVE, Range, Rule
from steadystep.step.guarded_step import Nonfinite
from steadystep.tracing.ops import where


def plain(g, p, *, lr):
    return (p - lr * g,)


def plain_scalars(t, lr):
    return (lr,)


def heavy_ball(g, p, u, *, lr, momentum, gain):
    u = momentum * u + gain * g
    return p - lr * u, u


def nesterov(g, p, u, *, lr, momentum, gain):
    u = momentum * u + gain * g
    return p - lr * (g + momentum * u), u


def velocity(g, p, u, *, lr, momentum):
    u = momentum * u - lr * g
    return p + u, u


def nesterov_velocity(g, p, u, *, lr, momentum):
    u = momentum * u - lr * g
    return p + momentum * u - lr * g, u


def velocity_scalars(t, lr, momentum):
    return lr, momentum


def momentum_scalars(t, lr, momentum, dampening):
    return lr, momentum, where(t == 1, 1.0, 1.0 - dampening)  # the first velocity is the gradient itself


PLAIN = Rule(plain, plain_scalars, slots=(), decay="coupled")
RULES = {  # by (variant, nesterov), with momentum
    ("torch", False): Rule(heavy_ball, momentum_scalars, slots=("momentum_buffer",), decay="coupled"),
    ("torch", True): Rule(nesterov, momentum_scalars, slots=("momentum_buffer",), decay="coupled"),
    ("velocity", False): Rule(velocity, velocity_scalars, slots=("velocity",), decay="coupled"),
    ("velocity", True): Rule(nesterov_velocity, velocity_scalars, slots=("velocity",), decay="coupled"),
}


class SGD(Optimizer):
    r"""Stochastic gradient descent, as torch.optim defines it.

    .. math:: u_t = \mu u_{t-1} + (1 - d) g_t, \quad u_1 = g_1; \qquad \theta_t = \theta_{t-1} - \alpha u_t

    with Nesterov's momentum \theta_t = \theta_{t-1} - \alpha (g_t + \mu u_t), and without momentum
    \theta_t = \theta_{t-1} - \alpha g_t. The variant ``"velocity"`` (Keras) has the learning rate inside the momentum,
    u_t = \mu u_{t-1} - \alpha g_t, \theta_t = \theta_{t-1} + u_t: other steps as soon as the learning rate changes.

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0. Default 1e-3.
        momentum: \mu in [0, 1). Default 0.
        dampening: d in [0, 1]. Default 0.
        weight_decay: L2 coefficient, added to the gradient as weight_decay * \theta. Default 0.
        nesterov: Nesterov's form; needs momentum and no dampening. Default False.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Robbins & Monro (1951); Polyak (1964); Sutskever et al. (2013), section 2, for Nesterov's form.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.SGD([weight], lr=0.1, momentum=0.9)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.8000])
    """

    variants = ("torch", "velocity")
    hyperparameters = {
        "lr": NON_NEGATIVE,
        "momentum": DECAY_RATE,
        "dampening": Range(0.0, 1.0),
        "weight_decay": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
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
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(
            params, defaults, clip, nonfinite, max_consecutive_skips, rounding, variant, backend, maximize, state_dtype
        )

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        return RULES[group["variant"], bool(group["nesterov"])] if group["momentum"] else PLAIN

    def _validate(self, group: Mapping[str, Any]) -> None:
        super()._validate(group)
        if group["variant"] == "velocity" and group["dampening"] != 0:
            raise ValueError(f"dampening is {group['dampening']!r}: the variant 'velocity' has none")
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError(
                f"nesterov=True needs momentum > 0 and dampening = 0, got momentum={group['momentum']!r} and "
                f"dampening={group['dampening']!r}"
            )
