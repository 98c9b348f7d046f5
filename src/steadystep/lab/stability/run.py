"""Run a declared sweep and collect its records. The same call resumes an interrupted sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steadystep.lab.execution.cluster import Cluster, connected, trial_device
from steadystep.lab.execution.observer import Observer, Silent
from steadystep.lab.execution.stage_runner import allowed_replicas, stage_runner
from steadystep.lab.execution.store import Store
from steadystep.lab.execution.worker import Job
from steadystep.lab.study.spec import Study
from steadystep.lab.study.stages import tune
from steadystep.lab.system.fork_server import warm_up
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.ranks import this_rank
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import CHECKPOINT_SECONDS


@dataclass(frozen=True)
class SweepResults:
    """The records of a sweep by arm, sorted by learning rate and then by seed."""

    study: Study
    task: Task
    records: Mapping[str, Sequence[Record]]
    best: Mapping[str, float]  # the learning rate with the highest mean validation accuracy, see `best_setting`


def run_sweep(
    study: Study,
    task: Task,
    data: Path | None,
    folder: Path,
    workers: int = 1,
    observer: Observer | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    device: str | None = None,
    cluster: Cluster | None = None,
) -> SweepResults:
    """Run the trials that have no record in `folder` yet and return all records.

    A sweep that was killed at any moment is resumed by the same call. A folder may hold several sweeps: each record
    belongs to one trial, so that adding seeds, learning rates or optimizers trains only the new trials. Arguments and
    errors are those of `steadystep.lab.execution.run_study.run_study`.
    """
    if workers > 1 and cluster is None:
        warm_up()  # while this process loads the data
    observer, where = observer or Silent(), trial_device(device, cluster)
    with connected(cluster, workers, where):
        splits = task.load(data)
        Store(folder, observer.warning).prepare()
        allowed = allowed_replicas(task.replicas, task, splits, observer, where)
        job = Job(task, data, folder, checkpoint_seconds, allowed, where, this_rank())
        with stage_runner(job, splits, workers, observer, cluster) as run_stage:
            tuning = tune(study, task, splits.fingerprint, run_stage)
    return SweepResults(
        study,
        task,
        records={arm.name: tuning.records[arm.name, study.epochs] for arm in study.arms},
        best={arm.name: tuning.chosen[arm.name, study.epochs].lr for arm in study.arms},
    )
