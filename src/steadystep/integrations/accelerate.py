"""Accelerate: `prepare` in place of `accelerator.prepare`."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import torch

from steadystep.applied_steps import accounted_in, required
from steadystep.integrations.extras import needs
from steadystep.integrations.watched import RefusedSteps, name_parameters

try:
    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer
except ImportError as error:
    raise needs("accelerate", "Accelerate", "accelerate") from error

from steadystep.integrations.accelerate_box import record  # they need Accelerate
from steadystep.integrations.accelerate_clipping import measuring, refusing


def prepare(
    accelerator: Accelerator,
    *objects: Any,
    device_placement: list[bool] | None = None,
    blackbox: str | Path | None = None,
) -> Any:
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
        blackbox: the folder of a black box that records the training, with the losses that `accelerator.backward`
            gets. Give it the batches: ``for batch in optimizer.box.watch(loader)``. See `steadystep.blackbox`.
            Default None, none.

    Raises:
        TypeError: for an optimizer that cannot refuse a step.
        ValueError: if `blackbox` is given, and not one model with one optimizer.

    The lines to change::

        from steadystep.integrations.accelerate import prepare

        optimizer = steadystep.AdamW(model.parameters(), lr=1e-3, clip=1.0)
        model, optimizer, loader, scheduler = prepare(accelerator, model, optimizer, loader, scheduler)
    """
    for each in objects:
        if isinstance(each, torch.optim.Optimizer):
            name_parameters(required(each, "steadystep.integrations.accelerate.prepare"), objects)
    adopt(accelerator)
    prepared = accelerator.prepare(*objects, device_placement=device_placement)
    if blackbox is not None:
        record(accelerator, prepared if isinstance(prepared, tuple) else (prepared,), blackbox)
    return prepared


def adopt(accelerator: Accelerator) -> None:
    """Make an accelerator prepare optimizers so that it knows of refused steps; twice does nothing more."""
    if getattr(accelerator.prepare_optimizer, "is_steady", False):
        return
    accelerator.prepare_optimizer = _preparing(accelerator.prepare_optimizer)
    accelerator.clip_grad_norm_ = measuring(accelerator, accelerator.clip_grad_norm_)
    accelerator.clip_grad_value_ = refusing(accelerator, accelerator.clip_grad_value_)


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
