"""AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from steadystep.clipping.chain import Clip
from steadystep.kernels.precision import Rounding, StateDtype
from steadystep.optimizers.adam import RULES, Adam
from steadystep.optimizers.base import Params
from steadystep.rule import Rule
from steadystep.step.guarded_step import Nonfinite

ADAMW = {  # by (variant, amsgrad)
    (variant, amsgrad): replace(RULES["torch", amsgrad], decay=decay)
    for variant, decay in (("torch", "decoupled"), ("independent", "independent"))
    for amsgrad in (False, True)
}


class AdamW(Adam):
    r"""Adam whose weight decay acts on the parameter and not through the moments, as torch.optim defines it.

    .. math:: \theta \leftarrow (1 - \alpha \lambda) \theta_{t-1}, \quad \text{then Adam's step}

    The variant ``"independent"`` decays by the schedule alone, (1 - \lambda \alpha / \alpha_0), where \alpha_0 is the
    learning rate at first: as the paper has it, and other than torch's.

    Args:
        params: parameters, named parameters or parameter groups, as for every torch optimizer.
        lr: learning rate \alpha, at least 0; the variant ``"independent"`` has to know one above 0 to start from, as
            a group's ``base_lr`` where its ``lr`` is 0. Default 1e-3.
        betas: (\beta_1, \beta_2), each in [0, 1). Default (0.9, 0.999).
        eps: \epsilon, at least 0. Default 1e-8.
        weight_decay: \lambda, at least 0. Default 1e-2.
        amsgrad: divide by the largest second moment so far: AMSGrad as torch.optim has it. Default False.

    The options after `*` are those of every optimizer here; see `Optimizer`.

    Raises:
        ValueError: for a hyperparameter outside its range, naming it, its value and the range.

    Source: Loshchilov & Hutter (2019), "Decoupled weight decay regularization", Algorithm 2.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.AdamW([weight], lr=0.1, weight_decay=0.5)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.8500])
    """

    variants = ("torch", "independent")

    def __init__(
        self,
        params: Params,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
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
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            clip=clip,
            nonfinite=nonfinite,
            max_consecutive_skips=max_consecutive_skips,
            rounding=rounding,
            variant=variant,
            backend=backend,
            maximize=maximize,
            state_dtype=state_dtype,
        )

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        return ADAMW[group["variant"], bool(group["amsgrad"])]
