"""Training steps of a task's own model and batches, timed in turns: what slows the machine down slows all arms."""

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
"""So small that all arms can share one model: hundreds of their steps leave it where it was."""

WARM_UP = 3
"""Untimed steps of each arm: kernels are compiled, state is allocated."""

TURN_MS = 10.0
"""A turn is one untimed step, which fetches the arm's state into the caches, and about so much of timed ones."""

LEAST_ROUNDS = 5

Tell = Callable[[float, str], None]
"""Told the share that is done, and which arm is next."""


@dataclass(frozen=True)
class Times:
    """One arm's turns: medians of the steps of a turn, in milliseconds, one entry a round."""

    forward_backward: tuple[float, ...]  # the batch, forward and backward
    optimizer: tuple[float, ...]  # clipping included


@dataclass(frozen=True)
class Cost:
    """What one arm was measured to take."""

    arm: CostArm
    threshold: float | None  # of its clipper
    times: Times
    state_bytes: int  # of the tensors that optimizer and clipper keep between steps


@dataclass(frozen=True)
class CostResults:
    """All arms, SGD first, on one task and machine."""

    task: Task
    costs: tuple[Cost, ...]
    parameters: int  # trained numbers of the model
    batch_size: int
    rounds: int
    environment: Environment


def measure(
    task: Task,
    data: Path | None,
    arms: Sequence[CostArm],
    seconds: float = 60.0,
    tell: Tell = lambda done, arm: None,
) -> CostResults:
    """Let all arms take turns for about so many seconds, 5 rounds at least. torch's random state is left as it was.

    Args:
        task: its model, batches, loss and augmentation are used.
        data: folder with local data sets, or None.
        arms: what is measured, SGD first.
        seconds: for all rounds together. Default 60.
        tell: hears how far it is, before every turn.
    """
    splits = task.load(data)
    with torch.random.fork_rng(devices=()):
        training = Training(_trial(CostArm(REFERENCE), None, task, splits.fingerprint), task, splits)
        for _ in range(WARM_UP):
            training.step()
        norm = median(training.measured.norm_before)
        optimizers: dict[CostArm, Optimizer] = {}
        thresholds: dict[CostArm, float | None] = {}
        for place, arm in enumerate(arms):
            tell(0.0, f"warming up {place + 1} of {len(arms)}")
            thresholds[arm] = _threshold(arm, norm)
            trial = _trial(arm, thresholds[arm], task, splits.fingerprint)
            optimizers[arm] = training.optimizer = make_optimizer(trial, training.model)
            for _ in range(WARM_UP):
                training.step()
        step_ms = 1e3 * median(training.measured.step_seconds[-WARM_UP * len(arms) :])
        steps = max(1, round(TURN_MS / step_ms))
        turns: dict[CostArm, list[tuple[float, float]]] = {arm: [] for arm in arms}
        rounds, begun = 0, time.monotonic()
        while rounds < LEAST_ROUNDS or time.monotonic() - begun < seconds:
            for place, arm in enumerate(arms):
                of_rounds = (rounds + place / len(arms)) / LEAST_ROUNDS
                tell(min(of_rounds, (time.monotonic() - begun) / seconds, 1.0), arm.name)
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
    """Of all tensors that it keeps besides parameters and gradients, those that parameters share counted once."""
    kept = [value for state in optimizer.state.values() for value in state.values()]
    kept += [value for group in optimizer.param_groups for name, value in group.items() if name != "params"]
    return sum({id(value): value.nbytes for value in kept if isinstance(value, torch.Tensor)}.values())


def _turn(training: Training, steps: int) -> tuple[float, float]:
    """Medians over the timed steps: milliseconds before the optimizer, and of it."""
    for _ in range(1 + steps):
        training.step()
    whole = training.measured.step_seconds[-steps:]
    own = training.measured.optimizer_seconds[-steps:]
    return 1e3 * median(a - b for a, b in zip(whole, own, strict=True)), 1e3 * median(own)


def _threshold(arm: CostArm, norm: float) -> float | None:
    """Where a clipper's number is a size of gradients, that at which it acts on about half of the steps."""
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
