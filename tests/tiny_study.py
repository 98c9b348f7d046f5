"""A task that trains in milliseconds, for tests of studies from the declaration to the records."""

import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from steadystep.lab.execution.observer import Silent
from steadystep.lab.execution.store import StoredStudy
from steadystep.lab.study.spec import Study, study_for
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.splits import Arrays, Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.checkpoint import load_checkpoint, save_checkpoint
from steadystep.lab.training.device import CPU
from steadystep.lab.training.record import Record
from steadystep.lab.training.trainer import Training
from steadystep.lab.training.trial import Trial

FINGERPRINT = "0123456789abcdef"


def load(data: Path | None) -> Splits[Arrays]:
    """Return three overlapping clouds in six dimensions: 100 training, 48 validation and 48 test examples."""
    random = np.random.RandomState(0)

    def split(examples: int) -> Arrays:
        y = random.randint(3, size=examples)
        x = random.normal(size=(examples, 6)) + 1.5 * np.eye(3, 6)[y]
        return Arrays(torch.tensor(x, dtype=torch.float32), torch.tensor(y))

    return Splits(split(100), split(48), split(48), FINGERPRINT)


def model() -> nn.Module:
    """Return a model with dropout, so that a resumed run needs the random state of the interrupted one."""
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def calm_model() -> nn.Module:
    """Return a model without dropout, which can be trained in replicas."""
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


TASK = Task(
    name="tiny",
    title="Three clouds",
    dataset="made up",
    classes=3,
    load=load,
    model=model,
    arms=(
        Arm(name="SGD", optimizer="SGD", lrs=(0.03, 0.3)),
        Arm(name="Adam", optimizer="Adam", lrs=(0.003, 0.03)),
        Arm(name="Adam + clip", optimizer="Adam", lrs=(0.03,), clip="norm", quantiles=(0.1, 0.9)),
    ),
    batch_size=16,
    budgets=(1, 2),
    seeds=2,
    tune_seeds=1,
    widen=0,
    margin=0.01,
    target_accuracy=0.6,
    target_loss=0.9,
)
CALM_TASK = replace(TASK, model=calm_model, replicas=4)
STUDY = study_for(TASK)
WANTED = StoredStudy(study=STUDY, task_version=1, data=FINGERPRINT)
TRIALS_IN_ALL = 2 * (6 + 6)
LONG = 100_000
"""Number of epochs of a trial that does not end during a test."""


def tiny_trial(**fields: Any) -> Trial:
    """Return a final run of Adam for 3 epochs of 6 steps; keywords replace its fields."""
    defaults: dict[str, Any] = {
        "task": TASK.name,
        "data": FINGERPRINT,
        "optimizer": "Adam",
        "lr": 0.01,
        "epochs": 3,
        "batch_size": 16,
        "seed": 0,
        "role": "final",
    }
    return Trial(**(defaults | fields))


def train_in_pieces(
    trial: Trial,
    task: Task,
    splits: Splits[Any],
    checkpoint: Path,
    moments: random.Random,
    steps: tuple[int, int],
    device: torch.device = CPU,
) -> None:
    """Train to the end in pieces of `steps` (minimum, maximum) steps, each restored only from the checkpoint."""
    training = Training(trial, task, splits, device)
    while not training.finished:
        for _ in range(min(moments.randint(*steps), training.steps - training.measured.steps)):
            training.step()
            if training.at_epoch_end():
                training.end_epoch()
        save_checkpoint(checkpoint, trial.id, {**training.state(), "elapsed": 1.0})
        torch.manual_seed(moments.randint(0, 99))  # stands for the random state of another process
        training = Training(trial, task, splits, device)
        state = load_checkpoint(checkpoint, trial.id)
        assert state
        training.restore(state)


def numbers(record: Record) -> dict[str, Any]:
    """Return everything that two runs of a trial must have in common: all fields except times and environment."""
    return record.model_dump(exclude={"times", "environment"})


@dataclass
class RecordingObserver(Silent):
    """An observer that records all events."""

    stages: list[str] = field(default_factory=list)
    started: list[Trial] = field(default_factory=list)
    epochs: list[tuple[str, int]] = field(default_factory=list)
    finished: list[Record] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def stage_started(self, name: str, total_trials: int, total_steps: int) -> None:
        self.stages.append(name)

    def trial_started(self, trial: Trial) -> None:
        self.started.append(trial)

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Any) -> None:
        self.epochs.append((trial.id, epoch))

    def trial_finished(self, record: Record) -> None:
        self.finished.append(record)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


class PrintingObserver(Silent):
    """An observer that prints a line for every event of a trial, for a test that waits for it in another process."""

    def trial_started(self, trial: Trial) -> None:
        print("started", trial.id, flush=True)

    def trial_finished(self, record: Record) -> None:
        print("finished", record.trial.id, flush=True)

    def warning(self, text: str) -> None:
        print("warning", text, flush=True)


def digits_study() -> tuple[Study, Task]:
    """Return a comparison on the real digits that takes seconds."""
    from steadystep.lab.tasks import find_task

    task = find_task("digits-mlp")
    arms = (
        Arm(name="SGD", optimizer="SGD", lrs=(0.1, 0.2, 0.5, 1.0)),
        Arm(name="Adam", optimizer="Adam", lrs=(1e-3, 3e-3, 1e-2, 3e-2)),
        Arm(name="Adam + norm", optimizer="Adam", lrs=(1e-3, 1e-2), clip="norm", quantiles=(0.1, 0.9)),
    )
    return Study(task=task.name, arms=arms, seeds=3, tune_seeds=2, budgets=(2, 4), batch_size=32), task


def endless_study() -> tuple[Study, Task]:
    """Return a comparison whose first trials never end before a test interrupts it."""
    return STUDY.model_copy(update={"budgets": (LONG,)}), TASK
