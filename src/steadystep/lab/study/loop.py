"""From a trial to its record: train, checkpoint, validate, and judge what came out."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

from steadystep.lab.study.checkpoint import BrokenCheckpointError, load_checkpoint, save_checkpoint
from steadystep.lab.study.environment import this_environment
from steadystep.lab.study.evaluation import evaluate
from steadystep.lab.study.flops import flops_per_step
from steadystep.lab.study.record import Record, Times
from steadystep.lab.study.training import Diverged, Training
from steadystep.lab.study.trial import Trial
from steadystep.lab.tasks.task import Splits, Task

CHECKPOINT_SECONDS = 5.0
"""How much work a kill can cost."""

POLL_SECONDS = 0.1
"""How often a running trial looks whether it is asked to stop."""

GUESSING = 0.99
"""A run that ends above this share of a guess's loss, log(classes), learned at best how frequent the classes are."""

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
    with torch.random.fork_rng(devices=()):
        started = time.monotonic()
        training = Training(trial, task, splits)
        x, _ = training.next_batch()
        flops = flops_per_step(task.model, x.shape, x.dtype)
        earlier = _resume(training, checkpoint, warn)

        def elapsed() -> float:
            return earlier + time.monotonic() - started

        def save() -> None:
            save_checkpoint(checkpoint, trial.id, {**training.state(), "elapsed": elapsed()})

        saved = polled = started
        reason = ""
        try:
            while not training.finished:
                training.step()
                if training.at_epoch_end():
                    training.end_epoch()
                    on_epoch(training.epoch, _latest(training))
                now = time.monotonic()
                if now - saved >= checkpoint_seconds:
                    save()
                    saved = now
                if now - polled >= POLL_SECONDS:
                    polled = now
                    if stop():
                        save()
                        raise TrialStopped
        except Diverged as divergence:
            reason = str(divergence)
        return _record(training, reason or _no_better_than_guessing(training, task), flops, elapsed)


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


def _latest(training: Training) -> dict[str, float]:
    measured = training.measured
    epoch = measured.loss[-training.steps_per_epoch :]
    return {
        "train_loss": math.fsum(epoch) / len(epoch),
        "val_loss": measured.val_loss[-1],
        "val_accuracy": measured.val_accuracy[-1],
    }


def _no_better_than_guessing(training: Training, task: Task) -> str:
    """A run can be finite to the end and have learned nothing."""
    loss, guess = _latest(training)["train_loss"], math.log(task.classes)
    if loss < GUESSING * guess:
        return ""
    return f"no better than guessing: training loss {loss:.4g} in the last epoch, a guess has {guess:.4g}"


def _record(training: Training, reason: str, flops: float, elapsed: Callable[[], float]) -> Record:
    trial, measured = training.trial, training.measured
    outcome: dict[str, Any] = {"outcome": "diverged", "reason": reason, "val_accuracy": None, "val_loss": None}
    if not reason:
        outcome = {
            "outcome": "finished",
            "val_accuracy": measured.val_accuracy[-1],
            "val_loss": measured.val_loss[-1],
        }
        if trial.role == "final":
            outcome["test_loss"], outcome["test_accuracy"] = evaluate(training.model, training.splits.test)
    return Record(
        trial=trial,
        steps=measured.steps,
        parameters=sum(parameter.numel() for parameter in training.model.parameters()),
        flops=flops * measured.steps,
        curve=measured.curve(),
        norm_quantiles=measured.norm_quantiles(),
        clip_rate=measured.clip_rate(),
        times=Times(
            wall_seconds=elapsed(),
            step_ms=1e3 * _median(measured.step_seconds),
            optimizer_ms=1e3 * _median(measured.optimizer_seconds),
        ),
        environment=this_environment(trial.dtype),
        **outcome,
    )


def _median(values: list[float]) -> float:
    return median(values) if values else math.nan
