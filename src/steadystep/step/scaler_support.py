"""What an optimizer answers to a GradScaler that asks whether its step divides by the scale."""

import sys
from typing import Any

from steadystep.gradients.caller import calling_object

_NAME = "_step_supports_amp_scaling"  # which torch asks for

SCALER_ATTRIBUTES = ("grad_scale", "found_inf")
"""What a GradScaler hands to an optimizer for one step: its scale, and whether a gradient is infinite."""


class ScalerSupport:
    """The attribute `_step_supports_amp_scaling`: True, except for a ShardedGradScaler.

    A GradScaler then leaves the division by its scale to the step, which measures first. It looks for infinite
    gradients on its own rank only, and hands the step what it has found. A ShardedGradScaler agrees with the other
    ranks only if it divides by itself, and then calls the step on all ranks or on none.
    """

    def __get__(self, optimizer: Any, kind: type | None = None) -> bool:
        """Return whether the step divides the gradients by the scale of the scaler that asks."""
        if _is_sharded(calling_object("torch.amp.grad_scaler")):
            return False
        return vars(optimizer).get(_NAME, True) if optimizer is not None else True

    def __set__(self, optimizer: Any, value: bool) -> None:
        """Set the answer of one optimizer to an ordinary GradScaler, as torch's fused optimizers do."""
        vars(optimizer)[_NAME] = value


def forget_scale(optimizer: Any) -> None:
    """Drop what a GradScaler has handed an optimizer whose step fails, because the scaler only does so after a success.

    It would multiply the scale that it finds there by its own in the next step. What the user has set stays.
    """
    if calling_object("torch.amp.grad_scaler") is not None:
        for name in SCALER_ATTRIBUTES:
            vars(optimizer).pop(name, None)


def _is_sharded(scaler: Any) -> bool:
    """Return whether this is a ShardedGradScaler, without importing its module, which is slow to import."""
    module = sys.modules.get("torch.distributed.fsdp.sharded_grad_scaler")
    return module is not None and isinstance(scaler, module.ShardedGradScaler)
