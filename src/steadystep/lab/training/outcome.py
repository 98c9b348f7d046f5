"""Make the record of a run from its measurements, and decide whether the run counts as finished or diverged."""

import math
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from steadystep.lab.tasks.task import Task
from steadystep.lab.training.device import CPU
from steadystep.lab.training.environment import this_environment
from steadystep.lab.training.evaluation import Evaluation
from steadystep.lab.training.measurements import Measurements
from steadystep.lab.training.record import Record, Times
from steadystep.lab.training.trial import Trial

GUESSING = 0.99
"""Fraction of the loss of guessing. A run that ends above it has learned at most the frequencies of the classes."""


def last_epoch_metrics(measured: Measurements, steps_per_epoch: int) -> dict[str, float]:
    """Return the metrics of the last finished epoch."""
    epoch = measured.loss[-steps_per_epoch:]
    return {
        "train_loss": math.fsum(epoch) / len(epoch),
        "val_loss": measured.val_loss[-1],
        "val_accuracy": measured.val_accuracy[-1],
    }


NO_BETTER = "no better than guessing"
"""Start of the reason for divergence of a run that took all its steps and learned nothing."""


def no_better_than_guessing(measured: Measurements, steps_per_epoch: int, task: Task) -> str:
    """Return why a run that learned nothing counts as diverged despite a finite loss, or "" if it learned."""
    if not task.must_learn:
        return ""
    guess, loss = task.loss_of_a_guess, last_epoch_metrics(measured, steps_per_epoch)["train_loss"]
    if loss < GUESSING * guess:
        return ""
    return f"{NO_BETTER}: training loss {loss:.4g} in the last epoch, a guess has {guess:.4g}"


def make_record(
    trial: Trial,
    measured: Measurements,
    reason: str,
    *,
    parameters: int,
    step_flops: float,
    wall_seconds: float,
    test: Callable[[], Evaluation],
    replicas: int = 1,
    device: torch.device = CPU,
    ranks: int = 1,
) -> Record:
    """Make the record of a run that ended.

    `reason` says why the run counts as diverged; it is empty for a finished run. `test()` evaluates the model on the
    test split; it is called for finished final runs only.
    """
    outcome: dict[str, Any] = {"outcome": "diverged", "reason": reason, "val_accuracy": None, "val_loss": None}
    if not reason:
        outcome = {
            "outcome": "finished",
            "val_accuracy": measured.val_accuracy[-1],
            "val_loss": measured.val_loss[-1],
        }
        if trial.role == "final":
            outcome["test_loss"], outcome["test_accuracy"], outcome["test_also"] = test()
    return Record(
        trial=trial,
        steps=measured.steps,
        parameters=parameters,
        flops=step_flops * measured.steps,
        curve=measured.curve(),
        norm_quantiles=measured.norm_quantiles(),
        clip_rate=measured.clip_rate(),
        times=Times(
            wall_seconds=wall_seconds,
            step_ms=1e3 * _median(measured.step_seconds),
            optimizer_ms=1e3 * _median(measured.optimizer_seconds),
        ),
        environment=this_environment(trial.dtype, device),
        replicas=replicas,
        ranks=ranks,
        **outcome,
    )


def _median(values: list[float]) -> float:
    return median(values) if values else math.nan
