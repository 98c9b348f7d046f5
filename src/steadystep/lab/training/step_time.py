"""Measure the time of a forward and a backward pass, without an optimizer."""

import math

import torch

from steadystep.lab.tasks.splits import Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.device import CPU, device_scope, now
from steadystep.lab.training.evaluation import at_least_float32
from steadystep.lab.training.processor import cpu_settings
from steadystep.lab.training.trainer import Training
from steadystep.lab.training.trial import Trial

ROUNDS = 3
PATIENCE = 10.0
"""Seconds after which no further pass is started."""


def fastest_pass(trial: Trial, task: Task, splits: Splits, device: torch.device = CPU, enough: float = 0.0) -> float:
    """Return the shortest of a few times, in seconds, of the two passes on a batch of the trial, with one thread.

    A time of at most `enough` ends the measurement. The optimizer is left out, because the first of its steps compiles
    kernels.
    """
    shortest = math.inf
    with cpu_settings(), device_scope(device):
        training = Training(trial, task, splits, device)
        x, y = training.next_batch()
        started = now(device)
        for _ in range(1 + ROUNDS):
            shortest = min(shortest, step_seconds(task, training.model, x, y, trial.dtype == "bfloat16", device))
            if shortest <= enough or now(device) - started > PATIENCE:
                break
    return shortest


def step_seconds(
    task: Task, model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, autocast: bool, device: torch.device
) -> float:
    """Return the seconds of one forward and one backward pass."""
    started = now(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        outputs = model(x)
    task.recipe.loss(at_least_float32(outputs), y).backward()
    return now(device) - started
