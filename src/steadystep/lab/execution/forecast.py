"""Forecast the least time that a study takes, from the time of one step on this machine."""

from dataclasses import dataclass
from pathlib import Path

from steadystep.lab.study.spec import Study
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.device import find_device
from steadystep.lab.training.step_time import fastest_pass
from steadystep.lab.training.trial import Trial


@dataclass(frozen=True)
class Forecast:
    """The least time of a study: its steps, the measured time of one, and how many run at the same time."""

    steps: int
    step_seconds: float
    at_once: int

    @property
    def seconds(self) -> float:
        """The time of all steps."""
        return self.steps * self.step_seconds / self.at_once


def forecast(
    study: Study,
    task: Task,
    epochs: int,
    data: Path | None,
    workers: int,
    replicas: int | None,
    device: str | None,
    limit: float,
) -> Forecast:
    """Measure a step and return the forecast for `epochs` epochs of the study's trials.

    The optimizer, evaluation and start-up are left out, and replicas count as if they were free, so that a study takes
    longer. The measurement ends as soon as it shows that the forecast is below `limit` seconds.
    """
    where, splits = find_device(device), task.load(data)
    arm = study.arms[0]
    trial = Trial(
        task=task.name,
        data=splits.fingerprint,
        optimizer=arm.optimizer,
        options=arm.options,
        lr=arm.lrs[0],
        schedule=study.schedule,
        epochs=1,
        batch_size=study.batch_size,
        seed=0,
        role="tune",
        dtype=study.dtype,
    )
    examples = len(splits.train)
    steps = epochs * (examples // min(study.batch_size, examples))
    at_once = workers * (replicas or task.replicas)
    return Forecast(steps, fastest_pass(trial, task, splits, where, enough=limit * at_once / steps), at_once)
