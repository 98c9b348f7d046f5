"""From trials to their records: those that are kept from the store, the others by training."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from steadystep.lab.execution.batches import obstacle
from steadystep.lab.execution.executor import make_executor
from steadystep.lab.execution.observer import Observer
from steadystep.lab.execution.store import Store
from steadystep.lab.execution.worker import Job
from steadystep.lab.study.stages import Obtain
from steadystep.lab.tasks.task import Splits, Task
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial


@contextmanager
def obtaining(job: Job, splits: Splits, workers: int, observer: Observer) -> Iterator[Obtain]:
    """A function that runs what is not on record in the job's folder yet, and returns everything."""
    store = Store(job.folder, observer.warning)
    executor = make_executor(job, splits, workers)

    def obtain(stage: str, trials: Sequence[Trial]) -> Mapping[str, Record]:
        steps = sum(_steps(trial, len(splits.train)) for trial in trials)
        observer.stage_started(stage, len(trials), steps)
        records = on_record(store, trials)
        for record in records.values():
            observer.trial_finished(record)
        missing = [trial for trial in trials if trial.id not in records]
        recorded = [record.trial for record in records.values()]
        return {**records, **executor.run(missing, observer, recorded)} if missing else records

    try:
        yield obtain
    finally:
        executor.close()


def allowed_replicas(replicas: int, task: Task, splits: Splits, observer: Observer, device: torch.device) -> int:
    """So many, or 1 where the task's model cannot be trained in replicas."""
    why = ""
    if replicas > 1:
        why = obstacle(task, splits) if device.type == "cpu" else f"is on {device}, and replicas are on the CPU alone"
    if why:
        observer.warning(f"the model of {task.name} {why}: its trials are trained one by one")
    return 1 if why else replicas


def on_record(store: Store, trials: Sequence[Trial]) -> dict[str, Record]:
    """The records that are kept, by the identities of their trials."""
    found = {trial.id: store.read(trial) for trial in trials}
    return {trial_id: record for trial_id, record in found.items() if record}


def _steps(trial: Trial, examples: int) -> int:
    return trial.epochs * (examples // min(trial.batch_size, examples))
