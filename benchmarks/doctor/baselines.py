"""What the tools in common use say of a run: whether they raise an alarm, and what they name.

Each rule is written anew from its documentation or source, with its default settings.
"""

import math
import re
import statistics
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.doctor.planted.case import learns, watch
from benchmarks.doctor.run import Run, finite, train

Make = Callable[[], Run]


@dataclass(frozen=True)
class Finding:
    """What a tool says of a run; `culprit` and `place` are empty where it names nothing."""

    alarmed: bool = False
    step: int | None = None
    culprit: str = ""
    place: str = ""
    cured: bool | None = None
    """Whether the run holds with the tool's remedy; None if it has none, or saw no need for it."""


def lightning(make: Make) -> Finding:
    """Watch the loss as Lightning's `SpikeDetection` does, with its defaults.

    An alarm is a loss that is not finite, or one that is above the last and differs from the mean of the last 10 by
    twice that mean or more. Nothing is named but two batches to skip.

    Source: the documentation and source of lightning.fabric.utilities.spike.SpikeDetection (window 10, warmup 1, atol
    None, rtol 2.0, finite_only True).
    """
    window: deque[float] = deque(maxlen=10)
    last = 0.0
    for step, loss in enumerate(train(make())):
        if window:
            mean = statistics.fmean(window)
            if not math.isfinite(loss) or (loss > last and abs(loss - mean) >= 2.0 * abs(mean)):
                return Finding(True, step)
        window.append(loss)
        last = loss
    return Finding()


def olmo(make: Make) -> Finding:
    """Watch loss and gradient norm as the skip-step optimizers of OLMo-core do, with their defaults.

    A step is skipped if its loss or gradient norm is not within 6 standard deviations above the mean of the last 128
    steps, once 64 steps have been seen. Nothing is named.

    Source: the docstring and source of olmo_core.optim.skip_step_optimizer.SkipStepOptimizer (rolling_interval_length
    128, sigma_factor 6).
    """
    interval, sigmas = 128, 6
    run = make()
    losses: deque[float] = deque(maxlen=interval + 1)
    norms: deque[float] = deque(maxlen=interval + 1)  # a step that a gradient scaler skips has none
    run.optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: norms.append(_norm(run.model)))
    for step, loss in enumerate(train(run)):
        losses.append(loss)
        if len(losses) >= max(2, interval // 2) and not (_within(losses, sigmas) and _within(norms, sigmas)):
            return Finding(True, step)
    return Finding()


def detect_anomaly(make: Make) -> Finding:
    """Train under `torch.autograd.set_detect_anomaly`, which stops at the first NaN that a backward function returns.

    The function's name is the place; whatever the cause, the only thing it can be taken to name is a `backward-op`.

    Source: https://docs.pytorch.org/docs/stable/autograd.html#anomaly-detection
    """
    run = make()
    taken = 0
    with torch.autograd.set_detect_anomaly(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the traceback of the forward call is printed as a warning
        try:
            for taken, loss in enumerate(train(run), 1):  # noqa: B007 the step that raises is the next one
                if not finite(run, loss):
                    break  # from here on, every function returns NaN
        except RuntimeError as error:
            named = re.search(r"Function '(\w+)' returned nan", str(error))
            if named is None:
                raise
            return Finding(True, taken, "backward-op", named[1])
    return Finding()


def tenth_of_lr(make: Make) -> Finding:
    """Divide the learning rate by 10 whenever a run has trouble: the first thing that is tried in practice."""

    def remedy(run: Run) -> None:
        for group in run.optimizer.param_groups:
            group["lr"] /= 10
        if hasattr(run, "scheduler"):
            run.scheduler.base_lrs = [lr / 10 for lr in run.scheduler.base_lrs]

    return _remedied(make, remedy, "learning-rate", "lr")


def clip_at_one(make: Make) -> Finding:
    """Clip the gradients by a global norm of 1 whenever a run has trouble: the second thing that is tried."""

    def remedy(run: Run) -> None:
        def clip(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
            nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)

        run.optimizer.register_step_pre_hook(clip)

    return _remedied(make, remedy, "outlier-gradient", "")


def _remedied(make: Make, remedy: Callable[[Run], None], culprit: str, place: str) -> Finding:
    seen = watch(make())
    if seen.sees is None and learns(seen.losses):
        return Finding()
    run = make()
    remedy(run)
    losses = list(train(run))
    return Finding(True, seen.step, culprit, place, finite(run, losses[-1]) and learns(losses))


def _norm(model: nn.Module) -> float:
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return torch.stack([gradient.float().norm() for gradient in gradients]).norm().item() if gradients else 0.0


def _within(values: deque[float], sigmas: float) -> bool:
    """Return whether the last value is at most some standard deviations above the mean of the others."""
    before = list(values)[:-1]
    if len(before) < 2:
        return True
    with np.errstate(invalid="ignore"):  # infinities, after which nothing is within
        return bool(values[-1] - np.mean(before) <= sigmas * np.std(before, ddof=1))


BASELINES: dict[str, Callable[[Make], Finding]] = {
    "Lightning SpikeDetection": lightning,
    "OLMo-core, 6 sigma": olmo,
    "torch detect_anomaly": detect_anomaly,
    "always lr/10": tenth_of_lr,
    "always clip 1.0": clip_at_one,
}
