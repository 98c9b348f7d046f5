"""Accelerate: a black box that follows what `prepare` has prepared."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from steadystep.recorder.blackbox import blackbox
from steadystep.recorder.box import BlackBox


def record(accelerator: Accelerator, prepared: Sequence[Any], folder: str | Path) -> None:
    """Record the steps of the prepared optimizer, which then has the black box as `box`.

    Raises:
        ValueError: if there is not one model and one optimizer among what was prepared.
    """
    models = [each for each in prepared if isinstance(each, torch.nn.Module)]
    optimizers: list[Any] = [each for each in prepared if isinstance(each, torch.optim.Optimizer)]
    if len(models) != 1 or len(optimizers) != 1:
        raise ValueError(
            f"a black box records one model with one optimizer; prepare got {len(models)} models and "
            f"{len(optimizers)} optimizers. Prepare the others in a call without blackbox."
        )
    optimizer = optimizers[0]
    others = {f"scheduler_{number}": each for number, each in enumerate(map(_scheduler, prepared)) if each is not None}
    box = blackbox(
        accelerator.unwrap_model(models[0]), optimizer._inner, folder, scaler=accelerator.scaler, others=others
    )
    optimizer.box = box
    accelerator.backward = _recording(accelerator.backward, box)


def _scheduler(each: Any) -> Any:
    return (
        each.scheduler if isinstance(getattr(each, "scheduler", None), torch.optim.lr_scheduler.LRScheduler) else None
    )


def _recording(backward: Callable[..., Any], box: BlackBox) -> Callable[..., Any]:
    @wraps(backward)
    def call(loss: torch.Tensor, **options: Any) -> Any:
        box.loss(loss.detach())
        return backward(loss, **options)

    return call
