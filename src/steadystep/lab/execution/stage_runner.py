"""Get the records of a stage's trials: read stored records and train the trials that have none."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from steadystep.lab.execution.batch_plan import replication_obstacle
from steadystep.lab.execution.cluster import Cluster
from steadystep.lab.execution.executor import make_executor
from steadystep.lab.execution.observer import Observer
from steadystep.lab.execution.store import Store
from steadystep.lab.execution.worker import Job
from steadystep.lab.study.stages import RunStage
from steadystep.lab.system.scarcity import scarcity_as_user_error
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.ranks import Ranks, this_rank
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial


@contextmanager
def stage_runner(
    job: Job, splits: Splits, workers: int, observer: Observer, cluster: Cluster | None = None
) -> Iterator[RunStage]:
    """Yield a function that trains the trials of a stage that have no stored record, and returns all records.

    The workers are stopped at the end of the block.

    Raises:
        ScarcityError: if the machine ran out of memory, threads or the like.
    """
    store = Store(job.folder, observer.warning)
    executor = make_executor(job, splits, workers, cluster)

    def run_stage(stage: str, trials: Sequence[Trial]) -> Mapping[str, Record]:
        steps = sum(_steps(trial, len(splits.train)) for trial in trials)
        observer.stage_started(stage, len(trials), steps)
        records = _same_records(job.ranks, stored_records(store, trials, set_aside=True))
        for record in records.values():
            observer.trial_finished(record)
        missing = [trial for trial in trials if trial.id not in records]
        recorded = [record.trial for record in records.values()]
        return {**records, **executor.run(missing, observer, recorded)} if missing else records

    with scarcity_as_user_error():
        try:
            yield run_stage
        finally:
            executor.close()


def _same_records(ranks: Ranks, records: dict[str, Record]) -> dict[str, Record]:
    """Return the records of rank 0, so that all processes run the same trials."""
    if ranks.alone:
        return records
    texts = json.loads(ranks.same(json.dumps({name: record.model_dump_json() for name, record in records.items()})))
    return {name: Record.model_validate_json(text) for name, text in texts.items()}


def allowed_replicas(replicas: int, task: Task, splits: Splits, observer: Observer, device: torch.device) -> int:
    """Return the number of replicas, or 1 if the task's model cannot be trained in replicas; warn in that case."""
    reason = ""
    if replicas > 1:
        ranks = this_rank()
        if not ranks.alone:
            reason = f"is trained by {ranks.size} processes together"
        elif device.type != "cpu":
            reason = f"is on {device}, and replicas run on the CPU only"
        else:
            reason = replication_obstacle(task, splits)
    if reason:
        observer.warning(f"the model of {task.name} {reason}: its trials are trained one at a time")
    return 1 if reason else replicas


def stored_records(store: Store, trials: Sequence[Trial], *, set_aside: bool = False) -> dict[str, Record]:
    """Return the stored records of these trials, keyed by trial id; a trial without a valid record is left out.

    With `set_aside`, invalid records are renamed; see `Store.read`.
    """
    records = {trial.id: store.read(trial, set_aside=set_aside) for trial in trials}
    return {trial_id: record for trial_id, record in records.items() if record}


def _steps(trial: Trial, examples: int) -> int:
    return trial.epochs * (examples // min(trial.batch_size, examples))
