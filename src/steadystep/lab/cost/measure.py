"""Time training steps on the model and batches of a task.

The arms take turns, so that a slowdown of the machine affects all of them equally.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from steadystep.lab.cost.arms import REFERENCE, CostArm
from steadystep.lab.tasks.clips import CLIPS
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.environment import this_environment
from steadystep.lab.training.record import Environment
from steadystep.lab.training.trainer import Training, make_optimizer
from steadystep.lab.training.trial import Clip, Trial
from steadystep.optimizers import Optimizer

LR = 1e-6
"""So small that all arms can share one model: hundreds of steps hardly change its parameters."""

WARM_UP = 3
"""Untimed steps of each arm, in which kernels are compiled and state is allocated."""

TURN_MS = 10.0
"""Approximate length of the timed part of a turn. One untimed step before it loads the arm's state into the caches."""

LEAST_ROUNDS = 5

Progress = Callable[[float, str], None]
"""A callback that receives the completed fraction and the name of the next arm."""


@dataclass(frozen=True)
class Times:
    """The times of one arm in milliseconds, with one entry per round: the median over the steps of its turn."""

    forward_backward: tuple[float, ...]  # loading the batch, forward and backward
    optimizer: tuple[float, ...]  # including clipping


@dataclass(frozen=True)
class Cost:
    """The measured cost of one arm."""

    arm: CostArm
    threshold: float | None  # of its clipper
    times: Times
    state_bytes: int  # size of the tensors that optimizer and clipper store between steps


@dataclass(frozen=True)
class CostResults:
    """The costs of all arms, SGD first, on one task and machine."""

    task: Task
    costs: tuple[Cost, ...]
    parameters: int  # number of trainable scalars of the model
    batch_size: int
    rounds: int
    environment: Environment


def measure(
    task: Task,
    data: Path | None,
    arms: Sequence[CostArm],
    seconds: float = 60.0,
    progress: Progress = lambda done, arm: None,
) -> CostResults:
    """Measure all arms in turns for about `seconds` seconds, but in at least 5 rounds.

    The global random state of torch is restored afterwards.

    Args:
        task: the task whose model, batches, loss and augmentation are used.
        data: folder with local data sets, or None.
        arms: the arms to measure, SGD first.
        seconds: total time of all rounds. Default 60.
        progress: called before every turn with the completed fraction and the name of the arm.
    """
    splits = task.load(data)
    with torch.random.fork_rng(devices=()):
        training = Training(_trial(CostArm(REFERENCE), None, task, splits.fingerprint), task, splits)
        for _ in range(WARM_UP):
            training.step()
        norm = median(training.measured.norm_before)
        optimizers: dict[CostArm, Optimizer] = {}
        thresholds: dict[CostArm, float | None] = {}
        for index, arm in enumerate(arms):
            progress(0.0, f"warming up {index + 1} of {len(arms)}")
            thresholds[arm] = _threshold(arm, norm)
            trial = _trial(arm, thresholds[arm], task, splits.fingerprint)
            optimizers[arm] = training.optimizer = make_optimizer(trial, training.model)
            for _ in range(WARM_UP):
                training.step()
        step_ms = 1e3 * median(training.measured.step_seconds[-WARM_UP * len(arms) :])
        steps = max(1, round(TURN_MS / step_ms))
        turns: dict[CostArm, list[tuple[float, float]]] = {arm: [] for arm in arms}
        rounds, started = 0, time.monotonic()
        while rounds < LEAST_ROUNDS or time.monotonic() - started < seconds:
            for index, arm in enumerate(arms):
                of_rounds = (rounds + index / len(arms)) / LEAST_ROUNDS
                progress(min(of_rounds, (time.monotonic() - started) / seconds, 1.0), arm.name)
                training.optimizer = optimizers[arm]
                turns[arm].append(_turn(training, steps))
            rounds += 1
    return CostResults(
        task,
        tuple(
            Cost(arm, thresholds[arm], Times(*zip(*turns[arm], strict=True)), state_bytes(optimizers[arm]))
            for arm in arms
        ),
        parameters=sum(parameter.numel() for parameter in training.model.parameters() if parameter.requires_grad),
        batch_size=training.batch_size,
        rounds=rounds,
        environment=this_environment("float32"),
    )


def state_bytes(optimizer: Optimizer) -> int:
    """Return the size of all state tensors; a tensor that several parameters share counts once."""
    values = [value for state in optimizer.state.values() for value in state.values()]
    values += [value for group in optimizer.param_groups for name, value in group.items() if name != "params"]
    return sum({id(value): value.nbytes for value in values if isinstance(value, torch.Tensor)}.values())


def _turn(training: Training, steps: int) -> tuple[float, float]:
    """Run one turn; return the median times, in ms, of the step without the optimizer and of the optimizer alone."""
    for _ in range(1 + steps):
        training.step()
    total = training.measured.step_seconds[-steps:]
    optimizer = training.measured.optimizer_seconds[-steps:]
    return 1e3 * median(a - b for a, b in zip(total, optimizer, strict=True)), 1e3 * median(optimizer)


def _threshold(arm: CostArm, norm: float) -> float | None:
    """Return the threshold of the clipper: its default, or the median norm, which clips about half of the steps."""
    if arm.clip is None:
        return None
    default = CLIPS[arm.clip].default
    return norm if default is None else default


def _trial(arm: CostArm, threshold: float | None, task: Task, data: str) -> Trial:
    return Trial(
        task=task.name,
        data=data,
        optimizer=arm.optimizer,
        lr=LR,
        clip=Clip(kind=arm.clip, threshold=threshold) if arm.clip and threshold else None,
        schedule="constant",
        epochs=1,
        batch_size=task.batch_size,
        seed=0,
        role="tune",
    )
