"""AdaBound and AMSBound (Luo et al. 2019): Adam between bounds that close in on SGD."""

from collections.abc import Mapping
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.base import Optimizer, Params
from steadystep.rule import DECAY_RATE, NON_NEGATIVE, Range, Rule
from steadystep.step.guarded_step import Nonfinite
from steadystep.tracing.ops import maximum, minimum, sqrt, where


def update(g, p, m, v, *, step_size, low, high, scale, beta1, one_minus_beta1, beta2, one_minus_beta2, eps):
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    root = sqrt(v) + eps
    eta = minimum(maximum(where(root > 0.0, step_size / root, high), low), high)  # what is over 0 is beyond any bound
    return p - scale * eta * m, m, v


def update_max(g, p, m, v, x, *, step_size, low, high, scale, beta1, one_minus_beta1, beta2, one_minus_beta2, eps):
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    x = maximum(x, v)
    root = sqrt(x) + eps
    eta = minimum(maximum(where(root > 0.0, step_size / root, high), low), high)  # what is over 0 is beyond any bound
    return p - scale * eta * m, m, v, x


def scalars(t, lr, base_lr, beta1, beta2, eps, final_lr, gamma):
    final = final_lr * lr / base_lr
    low, high = final * (1 - 1 / (gamma * t + 1)), final * (1 + 1 / (gamma * t))
    return lr * sqrt(1 - beta2**t) / (1 - beta1**t), low, high, 1.0, beta1, 1 - beta1, beta2, 1 - beta2, eps


def paper_scalars(t, lr, beta1, beta2, final_lr):
    low, high = final_lr - final_lr / ((1 - beta2) * t + 1), final_lr + final_lr / ((1 - beta2) * t)
    return lr, low, high, 1 / sqrt(t), beta1, 1 - beta1, beta2, 1 - beta2, 0.0


BOUND = {
    "author": Rule(update, scalars, ("exp_avg", "exp_avg_sq"), "coupled"),
    "paper": Rule(update, paper_scalars, ("exp_avg", "exp_avg_sq"), "coupled"),
}
AMSBOUND = {
    "author": Rule(update_max, scalars, ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), "coupled"),
    "paper": Rule(update_max, paper_scalars, ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), "coupled"),
}


class AdaBound(Optimizer):
    r"""AdaBound: Adam whose elementwise learning rates are held between bounds that close in on SGD's.

    .. math::
        \eta_t = \operatorname{clip}\left(\frac{\alpha \sqrt{1-\beta_2^t}}{(1-\beta_1^t)(\sqrt{v_t} + \epsilon)},
        f \left(1 - \frac{1}{\gamma t + 1}\right), f \left(1 + \frac{1}{\gamma t}\right)\right), \quad
        \theta_t = \theta_{t-1} - \eta_t m_t

    with Adam's m_t and v_t and f = final_lr * \alpha / \alpha_0, where \alpha_0 is the learning rate at first: the
    variant ``"author"``, the default. ``"paper"`` has neither bias correction nor \epsilon, 1-\beta_2 for \gamma,
    f = final_lr, and divides the step by \sqrt{t}.

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0; the variant ``"author"`` has to know one above 0 to start from, as a
            group's ``base_lr`` where its ``lr`` is 0. Default 1e-3.
        betas: (\beta_1, \beta_2), each in [0, 1). Default (0.9, 0.999).
        final_lr: SGD's learning rate at the end, at least 0. Default 0.1.
        gamma: \gamma, how fast the bounds close, greater than 0. Default 1e-3.
        eps: \epsilon, at least 0. Default 1e-8.
        weight_decay: L2 coefficient, added to the gradient as weight_decay * \theta. Default 0.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Luo, Xiong, Liu & Sun (2019), "Adaptive gradient methods with dynamic bound of learning rate", Algorithm 2.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.AdaBound([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.9000])
    """

    variants = ("author", "paper")
    hyperparameters = {
        "lr": NON_NEGATIVE,
        "betas": DECAY_RATE,
        "final_lr": NON_NEGATIVE,
        "gamma": Range(1e-300),
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        final_lr: float = 0.1,
        gamma: float = 1e-3,
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
        defaults = {
            "lr": lr,
            "betas": betas,
            "final_lr": final_lr,
            "gamma": gamma,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(
            params, defaults, clip, nonfinite, max_consecutive_skips, rounding, variant, backend, maximize, state_dtype
        )

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        return BOUND[group["variant"]]


class AMSBound(AdaBound):
    r"""AMSBound: AdaBound over the largest second moment so far, as AMSGrad is to Adam.

    .. math:: x_t = \max(x_{t-1}, v_t) \text{ in the place of } v_t

    Its arguments, variants and errors are `AdaBound`'s; the maximum is taken of the uncorrected v_t.

    Source: Luo, Xiong, Liu & Sun (2019), "Adaptive gradient methods with dynamic bound of learning rate", Algorithm 3.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.AMSBound([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.9000])
    """

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        return AMSBOUND[group["variant"]]
