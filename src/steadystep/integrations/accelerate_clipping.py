"""Accelerate: clipping by the accelerator beside an optimizer that clips by itself."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

from collections.abc import Callable
from functools import wraps
from typing import Any

from accelerate import Accelerator
from torch.nn.utils import get_total_norm

from steadystep.applied_steps import accounted_in
from steadystep.integrations.watched import clips, refuse_second_clip


def measuring(accelerator: Accelerator, clip_grad_norm_: Callable[..., Any]) -> Callable[..., Any]:
    """Return `accelerator.clip_grad_norm_` so that it measures, but does not clip what an optimizer clips."""

    @wraps(clip_grad_norm_)
    def call(parameters: Any, max_norm: float, norm_type: float = 2) -> Any:
        if not any(clips(each) for each in _accounted(accelerator)):
            return clip_grad_norm_(parameters, max_norm, norm_type=norm_type)
        if max_norm != float("inf"):
            _refuse_clip(accelerator, f"accelerator.clip_grad_norm_({max_norm!r})")
        norm: Any = get_total_norm([each.grad for each in parameters if each.grad is not None], norm_type)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        scaler: Any = accelerator.scaler
        return norm / scaler.get_scale() if scaler is not None else norm

    return call


def refusing(accelerator: Accelerator, clip_grad_value_: Callable[..., Any]) -> Callable[..., Any]:
    """Return `accelerator.clip_grad_value_` so that it is refused where an optimizer clips."""

    @wraps(clip_grad_value_)
    def call(parameters: Any, clip_value: float) -> Any:
        _refuse_clip(accelerator, f"accelerator.clip_grad_value_({clip_value!r})")
        return clip_grad_value_(parameters, clip_value)

    return call


def _accounted(accelerator: Accelerator) -> list[Any]:
    return [inner for each in accelerator._optimizers if (inner := accounted_in(each)) is not None]


def _refuse_clip(accelerator: Accelerator, setting: str) -> None:
    for each in _accounted(accelerator):
        refuse_second_clip(each, setting, "no other clip in the loop")
