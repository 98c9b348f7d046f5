"""A training run as `steadystep.diagnose` takes it, and the plain loop that trains one."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

Loss = Callable[[nn.Module, Any], torch.Tensor]
Step = Callable[["Run", Any], float]

STEPS = 300
"""Batches of a run."""


class Run:
    """A model, its optimizer, its loss and its batches; `step`, `scaler` and `scheduler` exist only if they are given.

    A run without its own `step` clears the gradients, computes them, and steps the optimizer and then the scheduler.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        batches: Sequence[Any],
        *,
        step: Step | None = None,
        scaler: torch.amp.GradScaler | None = None,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    ) -> None:
        self.model, self.optimizer, self.loss, self.batches = model, optimizer, loss, batches
        self.step: Step
        self.scaler: torch.amp.GradScaler
        self.scheduler: torch.optim.lr_scheduler.LRScheduler
        for name, value in {"step": step, "scaler": scaler, "scheduler": scheduler}.items():
            if value is not None:
                setattr(self, name, value)


def train(run: Any, steps: int = STEPS) -> Iterator[float]:
    """Train a run for some steps, starting again at the first batch after the last; yield the loss of each step."""
    step = getattr(run, "step", plain_step)
    run.model.train()
    for index in range(steps):
        batch = run.batches[index % len(run.batches)] if hasattr(run, "batches") else run.batch(index)
        yield float(step(run, batch))


def plain_step(run: Any, batch: Any) -> float:
    """Take the step of a run that has none of its own."""
    run.optimizer.zero_grad()
    loss = run.loss(run.model, batch)
    scaler, scheduler = getattr(run, "scaler", None), getattr(run, "scheduler", None)
    if scaler is None:
        loss.backward()
        run.optimizer.step()
    else:
        scaler.scale(loss).backward()
        scaler.step(run.optimizer)
        scaler.update()
    if scheduler is not None:
        scheduler.step()
    return loss.item()


def finite(run: Any, loss: float) -> bool:
    """Return whether the loss of the last step and all parameters are finite."""
    return math.isfinite(loss) and all(bool(torch.isfinite(p).all()) for p in run.model.parameters())
