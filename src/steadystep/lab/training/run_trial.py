"""From a trial to its record: train, checkpoint, validate, and judge what came out."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch

from steadystep.lab.tasks.task import Splits, Task
from steadystep.lab.training.checkpoint import BrokenCheckpointError, load_checkpoint, save_checkpoint
from steadystep.lab.training.device import CPU, computing_on
from steadystep.lab.training.flops import flops_per_step
from steadystep.lab.training.outcome import latest, make_record, no_better_than_guessing
from steadystep.lab.training.record import Record
from steadystep.lab.training.trainer import Diverged, Training
from steadystep.lab.training.trial import Trial

CHECKPOINT_SECONDS = 5.0
"""How much work a kill can cost."""

POLL_SECONDS = 0.1
"""How often a running trial looks whether it is asked to stop."""

OnEpoch = Callable[[int, Mapping[str, float]], None]


class TrialStopped(Exception):
    """The trial was asked to stop; its checkpoint holds everything up to there."""


def run_trial(
    trial: Trial,
    task: Task,
    splits: Splits,
    checkpoint: Path,
    *,
    on_epoch: OnEpoch = lambda epoch, metrics: None,
    warn: Callable[[str], None] = lambda text: None,
    stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    device: torch.device = CPU,
) -> Record:
    """Train as the trial says, from its checkpoint where there is one, and return its record.

    The same trial gives the same record but for its times and environment, however often it was interrupted:
    a checkpoint is written every `checkpoint_seconds`, between any two steps. The test split is read once, at
    the end of a finished final run. torch's global random state is left as it was found.

    Raises:
        TrialStopped: after `stop()` returned true, with the checkpoint written.
        UnsafeCheckpointError: where the checkpoint could run code when loaded.
        StoreError: where a checkpoint cannot be written.
    """
    with computing_on(device):
        started = time.monotonic()
        training = Training(trial, task, splits, device)
        x, y = training.next_batch()
        step_flops = flops_per_step(task, x, y)
        earlier = _resume(training, checkpoint, warn)

        def elapsed() -> float:
            return earlier + time.monotonic() - started

        def save() -> None:
            save_checkpoint(checkpoint, trial.id, {**training.state(), "elapsed": elapsed()})

        def end_epoch() -> None:
            training.end_epoch()
            on_epoch(training.epoch, latest(training.measured, training.steps_per_epoch))

        try:
            train(training, end_epoch, save, stop, checkpoint_seconds)
            reason = no_better_than_guessing(training.measured, training.steps_per_epoch, task)
        except Diverged as divergence:
            reason = str(divergence)
        return make_record(
            trial,
            training.measured,
            reason,
            parameters=sum(parameter.numel() for parameter in training.model.parameters()),
            step_flops=step_flops,
            wall_seconds=elapsed(),
            test=training.test,
            device=device,
        )


class Trainable(Protocol):
    """One run, or several side by side."""

    @property
    def finished(self) -> bool: ...

    def step(self) -> None:
        """Take the next step, or a few of the epoch's, or some epochs."""
        ...

    def at_epoch_end(self) -> bool: ...


def train(
    training: Trainable,
    end_epoch: Callable[[], None],
    save: Callable[[], None],
    stop: Callable[[], bool],
    checkpoint_seconds: float,
) -> None:
    """Take all steps that are left, saving every `checkpoint_seconds`.

    Raises:
        TrialStopped: after `stop()` returned true, with everything saved.
    """
    saved = polled = time.monotonic()
    while not training.finished:
        training.step()
        if training.at_epoch_end():
            end_epoch()
        now = time.monotonic()
        if now - saved >= checkpoint_seconds:
            save()
            saved = now
        if now - polled >= POLL_SECONDS:
            polled = now
            if stop():
                save()
                raise TrialStopped


def _resume(training: Training, checkpoint: Path, warn: Callable[[str], None]) -> float:
    """Go on from the checkpoint; the seconds that were spent before it."""
    try:
        state = load_checkpoint(checkpoint, training.trial.id)
    except BrokenCheckpointError as error:
        warn(f"{error}: the trial starts over")
        return 0.0
    if state is None:
        return 0.0
    training.restore(state)
    return state["elapsed"]
