"""What a GradScaler leaves to the step that it calls."""

import torch

from steadystep.guarded_step import Scaler


def taken_from_scaler(optimizer: torch.optim.Optimizer) -> Scaler | None:
    """The scale of the gradients that `optimizer` is to step with; None where no GradScaler calls the step.

    A GradScaler hands its scale to an optimizer that has `_step_supports_amp_scaling`, and divides nothing then; it
    hands None once it has divided by itself.
    """
    if getattr(optimizer, "found_inf", None) is None:
        return None
    scale: torch.Tensor | None = getattr(optimizer, "grad_scale", None)
    return Scaler(1.0 if scale is None else scale)
