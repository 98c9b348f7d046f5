"""Run one trial: train with checkpoints, validate, and make the record."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.checkpoint import (
    BrokenCheckpointError,
    folder_of_ranks,
    load_checkpoint,
    save_checkpoint,
)
from steadystep.lab.training.device import CPU, device_scope
from steadystep.lab.training.flops import flops_per_step
from steadystep.lab.training.outcome import last_epoch_metrics, make_record, no_better_than_guessing
from steadystep.lab.training.ranks import ALONE, Ranks
from steadystep.lab.training.record import Record
from steadystep.lab.training.trainer import Diverged, Training
from steadystep.lab.training.trial import Trial

CHECKPOINT_SECONDS = 5.0
"""Seconds of work that are lost at most when the process is killed."""

POLL_SECONDS = 0.1
"""Seconds between two checks whether a running trial should stop."""

OnEpoch = Callable[[int, Mapping[str, float]], None]


class TrialStopped(Exception):
    """The trial stopped on request; its checkpoint holds the state at that point."""


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
    ranks: Ranks = ALONE,
) -> Record:
    """Train the trial, from its checkpoint if there is one, and return its record.

    The same trial gives the same record except for times and environment, no matter how often it is interrupted:
    a checkpoint is written every `checkpoint_seconds`, between any two steps. The test split is read once, at
    the end of a finished final run. torch's global random state is restored afterwards.

    Several processes that train the trial together all call this function, and get the record of rank 0. Their
    checkpoint is a folder beside the file, and all of them have to reach both. Either kind of checkpoint is resumed by
    any number of processes.

    Raises:
        TrialStopped: after `stop()` returned true and the checkpoint was written.
        UnsafeCheckpointError: if the checkpoint could run code when it is loaded.
        StoreError: if a checkpoint cannot be read or written.
    """
    with device_scope(device):
        started = time.monotonic()
        training = Training(trial, task, splits, device, ranks)
        x, y = training.next_batch()
        step_flops = flops_per_step(task, x, y, training.batch_size)
        earlier = _resume(training, checkpoint, warn)

        def elapsed() -> float:
            return earlier + time.monotonic() - started

        def save() -> None:
            state = {**training.state(), "elapsed": elapsed()}
            if ranks.alone:
                save_checkpoint(checkpoint, trial.id, state)
            else:
                from steadystep.lab.training.checkpoint_of_ranks import save_checkpoint_of_ranks  # imports for a second

                save_checkpoint_of_ranks(folder_of_ranks(checkpoint), trial.id, state, ranks)

        def end_epoch() -> None:
            training.end_epoch()
            on_epoch(training.epoch, last_epoch_metrics(training.measured, training.steps_per_epoch))

        try:
            train(training, end_epoch, save, stop, checkpoint_seconds, ranks)
            reason = no_better_than_guessing(training.measured, training.steps_per_epoch, task)
        except Diverged as divergence:
            reason = str(divergence)
        record = make_record(
            trial,
            training.measured,
            reason,
            parameters=sum(parameter.numel() for parameter in training.model.parameters()),
            step_flops=step_flops,
            wall_seconds=elapsed(),
            test=training.test,
            device=device,
            ranks=ranks.size,
        )
        return record if ranks.alone else Record.model_validate_json(ranks.same(record.model_dump_json()))


class Trainable(Protocol):
    """One run, or several runs side by side."""

    @property
    def finished(self) -> bool:
        """Whether all steps have been taken."""
        ...

    def step(self) -> None:
        """Take one or more steps, up to several epochs."""
        ...

    def at_epoch_end(self) -> bool:
        """Return whether the last step completed an epoch."""
        ...


def train(
    training: Trainable,
    end_epoch: Callable[[], None],
    save: Callable[[], None],
    stop: Callable[[], bool],
    checkpoint_seconds: float,
    ranks: Ranks = ALONE,
) -> None:
    """Take all remaining steps, and save the state every `checkpoint_seconds`; all ranks do so after the same steps.

    Raises:
        TrialStopped: after `stop()` returned true and the state was saved.
    """
    saved = polled = time.monotonic()
    while not training.finished:
        training.step()
        if training.at_epoch_end():
            end_epoch()
        now = time.monotonic()
        stopped = False
        if now - polled >= POLL_SECONDS:
            polled = now
            stopped = stop()
        due, stopped = ranks.any([now - saved >= checkpoint_seconds, stopped])
        if due or stopped:
            save()
            saved = now
        if stopped:
            raise TrialStopped


def _resume(training: Training, checkpoint: Path, warn: Callable[[str], None]) -> float:
    """Restore the checkpoint, if there is a valid one, and return the seconds of training before it.

    Raises:
        UserError: if the processes found different checkpoints.
    """
    ranks, elapsed = training.ranks, 0.0
    try:
        state = _newest(checkpoint, training.trial.id, ranks)
    except BrokenCheckpointError as error:
        warn(f"{error}: the trial starts over")
        state = None
    if state is not None:
        training.restore(state)
        elapsed = state["elapsed"]
    steps = str(training.measured.steps)
    if any(ranks.any([ranks.same(steps) != steps])):
        raise UserError(
            f"the processes of this trial found different checkpoints in {checkpoint.parent}: choose a folder with "
            "--out that all machines share"
        )
    return elapsed


def _newest(checkpoint: Path, trial_id: str, ranks: Ranks) -> dict[str, Any] | None:
    """Return the state of the checkpoint with the most steps: that of one process, or that of several."""
    states = [load_checkpoint(checkpoint, trial_id)]
    folder = folder_of_ranks(checkpoint)
    if any(ranks.any([folder.exists()])):
        from steadystep.lab.training.checkpoint_of_ranks import load_checkpoint_of_ranks

        states.append(load_checkpoint_of_ranks(folder, trial_id, ranks))
    found = [state for state in states if state is not None]
    return max(found, key=lambda state: len(state["measured"]["loss"]), default=None)
