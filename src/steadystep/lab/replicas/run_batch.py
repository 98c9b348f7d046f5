"""From the trials of a batch to their records: one training, as many runs."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from steadystep.lab.execution.batches import Batch
from steadystep.lab.replicas.trainer import ReplicatedTraining
from steadystep.lab.tasks.task import Splits, Task
from steadystep.lab.training.checkpoint import BrokenCheckpointError, load_checkpoint, save_checkpoint
from steadystep.lab.training.evaluation import Evaluation
from steadystep.lab.training.outcome import latest, make_record, no_better_than_guessing
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import CHECKPOINT_SECONDS, train
from steadystep.lab.training.trial import Trial

_UNTESTED = Evaluation(math.nan, math.nan)


def run_batch(
    batch: Batch,
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
    """Train a batch's trials as one model, from its checkpoint where there is one; `on_record` gets each record.

    As `run_trial` for every one of them, but for rounding. The same batch gives the same records but for times and
    environment, however often it was interrupted. A trial that diverges is recorded at once, the others at the end; a
    batch that goes on from a checkpoint gives the records of those that had diverged before once more.

    Raises:
        TrialStopped: after `stop()` returned true, with the checkpoint written.
        UnsafeCheckpointError: where the checkpoint could run code when loaded.
        StoreError: where a checkpoint cannot be written.
    """
    trials = batch.trials
    with torch.random.fork_rng(devices=()):

        def tell(trial: Trial, reason: str, test: Evaluation = _UNTESTED) -> None:
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
                on_epoch(trial, training.epoch, latest(training.measured[trial.id], training.steps_per_epoch))

        training = ReplicatedTraining(trials, task, splits, on_diverged=tell)
        _resume(training, checkpoint, batch.id, warn)
        for trial in trials:
            if trial.id in training.diverged:
                tell(trial, training.diverged[trial.id])
        train(training, end_epoch, save, stop, checkpoint_seconds)
        reasons = [
            no_better_than_guessing(training.measured[trial.id], training.steps_per_epoch, task)
            for trial in training.running
        ]
        tests = [_UNTESTED] * len(reasons)
        if trials[0].role == "final" and not all(reasons):
            tests = training.test()
        for trial, reason, test in zip(training.running, reasons, tests, strict=True):
            tell(trial, reason, test)


def _resume(training: ReplicatedTraining, checkpoint: Path, identity: str, warn: Callable[[str], None]) -> None:
    try:
        state = load_checkpoint(checkpoint, identity)
    except BrokenCheckpointError as error:
        warn(f"{error}: its trials start over")
        return
    if state is not None:
        training.restore(state)
