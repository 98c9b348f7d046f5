"""Train a batch of trials side by side as replicas, and make their records."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from steadystep.lab.replicas.trainer import ReplicatedTraining
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.checkpoint import BrokenCheckpointError, load_checkpoint, save_checkpoint
from steadystep.lab.training.evaluation import Evaluation
from steadystep.lab.training.outcome import last_epoch_metrics, make_record, no_better_than_guessing
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import CHECKPOINT_SECONDS, train
from steadystep.lab.training.trial import Trial
from steadystep.lab.training.trial_batch import TrialBatch

_UNTESTED = Evaluation(math.nan, math.nan)


def run_batch(
    batch: TrialBatch,
    task: Task,
    splits: Splits,
    checkpoint: Path,
    on_record: Callable[[Record], None],
    *,
    on_epoch: Callable[[Trial, int, Mapping[str, float]], None] = lambda trial, epoch, metrics: None,
    warn: Callable[[str], None] = lambda text: None,
    stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> None:
    """Train the trials of a batch side by side and pass each record to `on_record`.

    Training resumes from the batch's checkpoint if there is one. The records equal those of `run_trial` for each trial,
    except for rounding. The same batch gives the same records, except for times and environment, no matter how often it
    was interrupted. A trial that diverges is recorded at once, the others at the end. A batch that resumes from a
    checkpoint records the trials that had diverged before it once more.

    Raises:
        TrialStopped: after `stop()` returned true and the checkpoint was written.
        UnsafeCheckpointError: if the checkpoint could run code when loaded.
        StoreError: if a checkpoint cannot be written.
    """
    trials = batch.trials
    with torch.random.fork_rng(devices=()):

        def record(trial: Trial, reason: str, test: Evaluation = _UNTESTED) -> None:
            on_record(
                make_record(
                    trial,
                    training.measured[trial.id],
                    reason,
                    parameters=training.layout.size,
                    step_flops=training.step_flops,
                    wall_seconds=training.seconds(trial),
                    test=lambda: test,
                    replicas=len(trials),
                )
            )

        def save() -> None:
            save_checkpoint(checkpoint, batch.id, training.state())

        def end_epoch() -> None:
            for trial in training.running:
                metrics = last_epoch_metrics(training.measured[trial.id], training.steps_per_epoch)
                on_epoch(trial, training.epoch, metrics)

        training = ReplicatedTraining(trials, task, splits, on_diverged=record)
        _resume(training, checkpoint, batch.id, warn)
        for trial in trials:
            if trial.id in training.diverged:
                record(trial, training.diverged[trial.id])
        train(training, end_epoch, save, stop, checkpoint_seconds)
        reasons = [
            no_better_than_guessing(training.measured[trial.id], training.steps_per_epoch, task)
            for trial in training.running
        ]
        tests = [_UNTESTED] * len(reasons)
        if trials[0].role == "final" and not all(reasons):
            tests = training.test()
        for trial, reason, test in zip(training.running, reasons, tests, strict=True):
            record(trial, reason, test)


def _resume(training: ReplicatedTraining, checkpoint: Path, batch_id: str, warn: Callable[[str], None]) -> None:
    """Restore the training from its checkpoint; warn and start over if the checkpoint is broken."""
    try:
        state = load_checkpoint(checkpoint, batch_id)
    except BrokenCheckpointError as error:
        warn(f"{error}: the trials of this batch start over")
        return
    if state is not None:
        training.restore(state)
