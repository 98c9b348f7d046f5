"""Accelerate: `prepare` in place of `accelerator.prepare`."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch.nn.utils import get_total_norm

from steadystep.applied_steps import accounted_in, required
from steadystep.integrations.extras import needs
from steadystep.integrations.watched import RefusedSteps, clips, name_parameters, refuse_second_clip

try:
    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer
except ImportError as error:
    raise needs("accelerate", "Accelerate", "accelerate") from error


def prepare(accelerator: Accelerator, *objects: Any, device_placement: list[bool] | None = None) -> Any:
    """Prepare models, optimizers, loaders and schedulers as `accelerator.prepare` does, and return them.

    A scheduler that is prepared with its optimizer then holds for steps that the optimizer refuses. Each refused step
    is a warning of the logger ``steadystep``. The parameters get their names in the model. A prepared optimizer has
    `ledger`, `clip`, `last_step_applied` and `metrics`, so that ``accelerator.log(optimizer.metrics())`` logs them.

    `accelerator.clip_grad_norm_` measures without clipping when its `max_norm` is infinite; with another one it is
    refused if the optimizer clips.

    Args:
        accelerator: the Accelerator.
        objects: what `accelerator.prepare` takes, with the model and its optimizer in one call.
        device_placement: as for `accelerator.prepare`.

    Raises:
        TypeError: for an optimizer that cannot refuse a step.

    The lines to change::

        from steadystep.integrations.accelerate import prepare

        optimizer = steadystep.AdamW(model.parameters(), lr=1e-3, clip=1.0)
        model, optimizer, loader, scheduler = prepare(accelerator, model, optimizer, loader, scheduler)
    """
    for each in objects:
        if isinstance(each, torch.optim.Optimizer):
            name_parameters(required(each, "steadystep.integrations.accelerate.prepare"), objects)
    adopt(accelerator)
    return accelerator.prepare(*objects, device_placement=device_placement)


def adopt(accelerator: Accelerator) -> None:
    """Make an accelerator prepare optimizers so that it knows of refused steps; twice does nothing more."""
    if getattr(accelerator.prepare_optimizer, "is_steady", False):
        return
    accelerator.prepare_optimizer = _preparing(accelerator.prepare_optimizer)
    accelerator.clip_grad_norm_ = _measuring(accelerator, accelerator.clip_grad_norm_)
    accelerator.clip_grad_value_ = _refusing(accelerator, accelerator.clip_grad_value_)


class SteadyOptimizer(AcceleratedOptimizer):
    """A prepared optimizer that knows whether its last step was refused."""

    _refused: RefusedSteps

    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Take a step when gradients are synchronised, and warn if it is refused."""
        super().step(closure)
        if self.gradient_state.sync_gradients:
            self._refused.look()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state, and count refused steps from there."""
        super().load_state_dict(state_dict)
        self._refused = RefusedSteps(self._inner)

    @property
    def step_was_skipped(self) -> bool:
        """Whether the last step was not applied. Schedulers of Accelerate and of transformers ask for it."""
        return super().step_was_skipped or self._inner._step_counts().refused

    @property
    def clip(self) -> Any:
        """The clippers of the optimizer. Set it to anything that its argument `clip` accepts."""
        return self._inner._clippers

    @clip.setter
    def clip(self, clip: Any) -> None:
        self._inner.clip = clip

    def __getattr__(self, name: str) -> Any:
        """Return `ledger`, `last_step_applied`, `metrics` or another attribute of the optimizer inside."""
        if name == "optimizer":  # while a copy is being made
            raise AttributeError(name)
        return getattr(self._inner, name)

    @property
    def _inner(self) -> Any:
        return required(self.optimizer, "Accelerate")


def _preparing(prepare_optimizer: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(prepare_optimizer)
    def call(optimizer: torch.optim.Optimizer, device_placement: bool | None = None) -> Any:
        prepared = prepare_optimizer(optimizer, device_placement=device_placement)
        inner = accounted_in(prepared)
        if inner is not None and type(prepared) is AcceleratedOptimizer:
            prepared.__class__ = SteadyOptimizer
            prepared._refused = RefusedSteps(inner)
        return prepared

    call.is_steady = True  # type: ignore[attr-defined]
    return call


def _measuring(accelerator: Accelerator, clip_grad_norm_: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(clip_grad_norm_)
    def call(parameters: Any, max_norm: float, norm_type: float = 2) -> Any:
        if not any(clips(each._inner) for each in _steady(accelerator)):
            return clip_grad_norm_(parameters, max_norm, norm_type=norm_type)
        if max_norm != float("inf"):
            _refuse_clip(accelerator, f"accelerator.clip_grad_norm_({max_norm!r})")
        norm: Any = get_total_norm([each.grad for each in parameters if each.grad is not None], norm_type)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        scaler: Any = accelerator.scaler
        return norm / scaler.get_scale() if scaler is not None else norm

    return call


def _refusing(accelerator: Accelerator, clip_grad_value_: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(clip_grad_value_)
    def call(parameters: Any, clip_value: float) -> Any:
        _refuse_clip(accelerator, f"accelerator.clip_grad_value_({clip_value!r})")
        return clip_grad_value_(parameters, clip_value)

    return call


def _steady(accelerator: Accelerator) -> list[SteadyOptimizer]:
    return [each for each in accelerator._optimizers if isinstance(each, SteadyOptimizer)]


def _refuse_clip(accelerator: Accelerator, setting: str) -> None:
    for each in _steady(accelerator):
        refuse_second_clip(each._inner, setting, "no other clip in the loop")
